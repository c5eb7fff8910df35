"""A model pack, a folder with models and a configuration -> `Models` (spec pipeline.md section 2)."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.backends import missing_extra
from core.config import PackConfig, load_config
from core.errors import PackError
from core.interfaces import Models

LOG = logging.getLogger(__name__)
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
EMBEDDED = CHECKPOINTS / "ditto_lite"
OFFICIAL = ("ditto_pytorch", "ditto_onnx")  # what "auto" looks for below CHECKPOINTS, the best first
PUBLISHED_CONFIGS = {  # of the downloaded folders, which hold none; beside them, in ditto_cfg
    "ditto_pytorch": "v0.4_hubert_cfg_pytorch.pkl",
    "ditto_trt_Ampere_Plus": "v0.4_hubert_cfg_trt.pkl",
}
MARK_OF_EMBEDDED = "motion_space_cfg"  # an entry that only the embedded pack has
OFFICIAL_ENTRIES = (
    *("insightface_det_cfg", "landmark106_cfg", "landmark203_cfg", "landmark478_cfg", "hubert_cfg"),
    *("appearance_extractor_cfg", "motion_extractor_cfg", "stitch_network_cfg", "warp_network_cfg", "decoder_cfg"),
)
FLAGS = ("use_emo", "use_eye_open", "use_eye_ball", "use_sc")
MOTION_KEYS = ("model_path", "seq_frames", "motion_feat_dim", "audio_feat_dim", "w2f_type", *FLAGS)


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
    data_root: str | Path = "auto", cfg_pkl: str | Path | None = None, **overrides: Any
) -> tuple[PackConfig, Models]:
    """Load a pack.

    Args:
        data_root: the pack's folder, or "auto" for the best one that is present.
        cfg_pkl: configuration, .pkl or .yaml; None takes the one inside the folder.
        overrides: `section={key: value}` replaces entries of the configuration.

    Raises PackError when the pack is unknown, incomplete or damaged; all missing files are named at once.
    """
    auto = str(data_root) == "auto"
    pack = best_pack(cfg_pkl, overrides) if auto else open_pack(find_pack(data_root), cfg_pkl, overrides)
    if pack.embedded:
        from core.lite.models import build  # only the chosen family's libraries are imported
    else:
        from core.official import build
    return pack.config, build(pack.config, pack.files)


def best_pack(cfg_pkl: str | Path | None, overrides: Mapping[str, Mapping[str, Any]]) -> Pack:
    """The first official pack that is complete and for which everything is installed, else the embedded one."""
    reasons = []
    for root in (CHECKPOINTS / name for name in OFFICIAL):
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
    """Read a pack's configuration and look for its files. Raises PackError."""
    config = override(load_config(find_config(root) if cfg_pkl is None else cfg_pkl), overrides)
    pack = Pack(root, config, model_files(config, root))
    lacking = {missing_extra(path) for path in pack.files.values()} - {None}
    if lacking:
        raise PackError(f"model pack {root} {' and '.join(sorted(lacking))}")
    return pack


def find_config(root: Path) -> Path:
    """The configuration inside a pack, or the published one beside it. Raises PackError when there is neither."""
    inside = root / "config.yaml"
    beside = root.parent / "ditto_cfg" / PUBLISHED_CONFIGS.get(root.name, "")
    for path in (inside, beside):
        if path.is_file():
            return path
    raise PackError(f"model pack {root} has no config.yaml; give the configuration that belongs to it with --cfg_pkl")


def override(config: PackConfig, overrides: Mapping[str, Mapping[str, Any]]) -> PackConfig:
    """Replace entries of the sections named in `overrides` (spec 2.4). Raises PackError for an unknown section."""
    unknown = [name for name in overrides if name not in (section.name for section in fields(PackConfig))]
    if unknown:
        raise PackError(f"unknown section {', '.join(unknown)} of the pack's configuration")
    return replace(config, **{name: {**getattr(config, name), **entries} for name, entries in overrides.items()})


def find_pack(data_root: str | Path) -> Path:
    """The folder of a pack: as given, or by its name under checkpoints/. Raises PackError with the nearest name."""
    for root in (Path(data_root), CHECKPOINTS / str(data_root)):
        if root.is_dir():
            return root
    known = sorted(path.name for path in CHECKPOINTS.iterdir() if path.is_dir())
    near = difflib.get_close_matches(Path(data_root).name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known packs: auto, {', '.join(known)}"
    raise PackError(f"no model pack at {data_root}; {hint}")


def model_files(config: PackConfig, root: Path) -> dict[str, Path]:
    """Path of each entry's model: inside the pack, else as given (spec 2.3). PackError names all that are missing.

    The 478 landmarks have `landmark478_cfg.task_path`, or the same with the names of the two paths.
    """
    named = model_paths(config)
    files = {name: root / path if (root / path).is_file() else Path(path) for name, path in named.items()}
    missing = [str(root / named[name]) for name, path in files.items() if not path.is_file()]
    if missing:
        raise PackError(f"model files missing: {', '.join(missing)}; restore the pack (git checkout or download)")
    return files


def model_paths(config: PackConfig) -> dict[str, str]:
    """Entry -> path as the configuration has it. Raises PackError when an entry or a key is not there."""
    entries, motion = config.base_cfg, config.audio2motion_cfg
    if MARK_OF_EMBEDDED in entries:
        paths = {name: entry["model_path"] for name, entry in entries.items() if entry.get("model_path")}
        return {**paths, "audio2motion_cfg": motion["model_path"]}
    lacking = [f"base_cfg.{name}" for name in OFFICIAL_ENTRIES if name not in entries]
    lacking += [f"audio2motion_cfg.{key}" for key in MOTION_KEYS if key not in motion]
    paths = {}
    for name in (name for name in OFFICIAL_ENTRIES if name in entries):
        for key, target in _path_keys(name, entries[name]).items():
            if entries[name].get(key):
                paths[target] = entries[name][key]
            else:
                lacking.append(f"base_cfg.{name}.{key}")
    if lacking:
        raise PackError(f"the pack's configuration has no {', '.join(lacking)}")
    if motion["w2f_type"] != "hubert":
        raise PackError(f"the pack's speech features are '{motion['w2f_type']}'; only 'hubert' can be computed here")
    return {**paths, "audio2motion_cfg": motion["model_path"]}


def _path_keys(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """Keys of an entry that hold a path -> name of that file."""
    if name != "landmark478_cfg":
        return {"model_path": name}
    pair = ("blaze_face_model_path", "face_mesh_model_path")
    task = entry.get("task_path") and (entry.get("force_ori_type") or not any(entry.get(key) for key in pair))
    return {key: f"{name}.{key}" for key in (("task_path",) if task else pair)}
