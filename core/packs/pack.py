"""A model pack, a folder with models and a configuration -> `Models` (spec pipeline.md section 2)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.backends import missing_extra
from core.errors import PackError
from core.interfaces import Models
from core.packs.model_files import MARK_OF_EMBEDDED, find_models
from core.packs.official_folders import ENGINES, default_config, engine_problem, fit_names
from core.settings.config import read_config
from core.settings.names import nearest
from core.settings.options import PackConfig
from core.settings.run_options import option_problems
from core.settings.speed import Speed, split_speed

LOG = logging.getLogger(__name__)
CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"
EMBEDDED = CHECKPOINTS / "ditto_lite"
OFFICIAL = ("ditto_pytorch", "ditto_onnx")  # what "auto" looks for below CHECKPOINTS after engines, the best first
PUBLISHED_CONFIGS = {  # of the downloaded folders, which hold none; beside them, in ditto_cfg
    "ditto_pytorch": "v0.4_hubert_cfg_pytorch.pkl",
    "ditto_trt_Ampere_Plus": "v0.4_hubert_cfg_trt.pkl",
}


@dataclass(frozen=True)
class Pack:
    """A pack that is complete: its folder, configuration and model files."""

    root: Path
    config: PackConfig
    files: dict[str, Path]

    @property
    def embedded(self) -> bool:
        """Whether it is of the embedded pack's kind."""
        return MARK_OF_EMBEDDED in self.config.base_cfg


def load_pack(
    data_root: str | Path = "auto",
    cfg_pkl: str | Path | None = None,
    lmdm: str | Path | None = None,
    **overrides: Any,
) -> tuple[PackConfig, Models]:
    """Load a pack.

    Args:
        data_root: the pack's folder, or "auto" for the best one that is present.
        cfg_pkl: configuration, .pkl or .yaml; None takes the one inside the folder.
        lmdm: a trained motion network that takes the place of the pack's, see `core.packs.trained_motion`.
        overrides: `section={key: value}` replaces entries of the configuration; the fields of
            `core.settings.speed.Speed` (device, precision, ...) say how the networks of an official pack are run.

    Raises PackError when the pack is unknown, incomplete or damaged; all missing files are named at once. InputError
    for impossible values of Speed.
    """
    speed, overrides = split_speed(overrides)
    auto = str(data_root) == "auto"
    pack = best_pack(cfg_pkl, overrides) if auto else open_pack(find_pack(data_root), cfg_pkl, overrides)
    if pack.embedded:
        from core.lite.models import build  # only the chosen family's libraries are imported

        if speed != Speed():
            LOG.info("the embedded pack runs on the CPU in its own way; options of speed have no effect on it")
        models = replace(build(pack.config, pack.files), identity=identity(pack))
    else:
        from core.packs.official import build

        models = replace(build(pack.config, pack.files, speed), identity=identity(pack, speed.device, speed.precision))
    return pack.config, models if lmdm is None else _with_motion(models, lmdm, pack.config, speed.device or "auto")


def _with_motion(models: Models, path: str | Path, config: PackConfig, device: str) -> Models:
    from core.packs.trained_motion import load_trained_motion

    motion = load_trained_motion(path, config.audio2motion_cfg, device)
    return replace(models, motion=motion, seq_frames=motion.frames)


def best_pack(cfg_pkl: str | Path | None, overrides: Mapping[str, Mapping[str, Any]]) -> Pack:
    """The first official pack that is complete and for which everything is installed, else the embedded one."""
    engines = sorted(CHECKPOINTS.glob(ENGINES))
    reasons = [] if engines else [f"no {ENGINES} is there"]
    for root in (*engines, *(CHECKPOINTS / name for name in OFFICIAL)):
        if not root.is_dir():
            reasons.append(f"{root.name} is not there")
            continue
        try:
            pack = open_pack(root, cfg_pkl, overrides)
        except PackError as error:
            reasons.append(f"{root.name} cannot be used: {error}")
            continue
        LOG.info("model pack: %s (complete%s)", root.name, f"; {'; '.join(reasons)}" if reasons else "")
        return pack
    LOG.info("model pack: %s (embedded default; %s)", EMBEDDED.name, "; ".join(reasons))
    return open_pack(EMBEDDED, cfg_pkl, overrides)


def open_pack(root: Path, cfg_pkl: str | Path | None, overrides: Mapping[str, Mapping[str, Any]]) -> Pack:
    """Read a pack's configuration and look for its files.

    Raises PackError, which names everything at once that is unknown in the configuration, lacking there or not there.
    """
    path = find_config(root) if cfg_pkl is None else Path(cfg_pkl)
    config, problems = read_config(path)
    config = fit_names(override(config, overrides), root)
    files, lacking = find_models(config, root)
    problems += option_problems(config)
    if problems:
        raise PackError("; ".join([f"{path}: {problems[0]}", *problems[1:], *lacking]))
    if lacking:
        raise PackError("; ".join(lacking))
    extras = {missing_extra(file) for file in files.values()} - {None}
    if extras:
        raise PackError(f"model pack {root} {' and '.join(sorted(extras))}")
    problem = engine_problem(files.values())
    if problem:
        raise PackError(f"model pack {root}: {problem}")
    return Pack(root, config, files)


def identity(pack: Pack, *how: str | None) -> str:
    """A name that changes with the pack's models: their configuration, sizes and times, and `how` they are run."""
    files = {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in pack.files.items()}
    content = json.dumps([pack.config.base_cfg, files, how], sort_keys=True, default=str)
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def find_config(root: Path) -> Path:
    """The configuration inside a pack, the published one beside it, or the built-in one for official networks.

    Raises PackError when there is none.
    """
    inside = root / "config.yaml"
    beside = root.parent / "ditto_cfg" / PUBLISHED_CONFIGS.get(root.name, "")
    for path in (inside, beside):
        if path.is_file():
            return path
    default = default_config(root)
    if default is not None:
        return default
    raise PackError(f"model pack {root} has no config.yaml; give the configuration that belongs to it with --cfg_pkl")


def override(config: PackConfig, overrides: Mapping[str, Mapping[str, Any] | None]) -> PackConfig:
    """A configuration with the entries of the sections in `overrides` replaced, not merged (spec 2.4).

    Neither argument is changed. Raises PackError for an unknown section and for one that is no dictionary.
    """
    known = [section.name for section in fields(PackConfig)]
    unknown = [name for name in overrides if name not in known]
    if unknown:
        raise PackError(
            f"unknown section {', '.join(unknown)} of the pack's configuration; known are {', '.join(known)}"
        )
    given = {name: entries for name, entries in overrides.items() if entries is not None}
    for name, entries in given.items():
        if not isinstance(entries, Mapping):
            raise PackError(f"section {name} is overridden by a {type(entries).__name__}; give a dictionary")
    return replace(config, **{name: {**getattr(config, name), **entries} for name, entries in given.items()})


def find_pack(data_root: str | Path) -> Path:
    """The folder of a pack: as given, or by its name under checkpoints/. Raises PackError with the nearest name."""
    for root in (Path(data_root), CHECKPOINTS / str(data_root)):
        if root.is_dir():
            return root
    known = sorted(path.name for path in CHECKPOINTS.iterdir() if path.is_dir())
    near = nearest(Path(data_root).name, known)
    hint = f"did you mean {near}?" if near else f"known packs: auto, {', '.join(known)}"
    raise PackError(f"no model pack at {data_root}; {hint}")
