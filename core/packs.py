"""A model pack, a folder with models and a configuration -> `Models` (spec pipeline.md section 2)."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from core.config import PackConfig, load_config
from core.errors import PackError
from core.interfaces import Models

LOG = logging.getLogger(__name__)
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
EMBEDDED = CHECKPOINTS / "ditto_lite"


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
    root = find_pack(data_root)
    config = override(load_config(root / "config.yaml" if cfg_pkl is None else cfg_pkl), overrides)
    files = model_files(config, root)
    if "motion_space_cfg" not in config.base_cfg:
        raise PackError(f"{root}: the official packs cannot be run yet; use --data_root {EMBEDDED.name}")
    from core.lite.models import build  # only the chosen family's libraries are imported

    return config, build(config, files)


def override(config: PackConfig, overrides: Mapping[str, Mapping[str, Any]]) -> PackConfig:
    """Replace entries of the sections named in `overrides` (spec 2.4). Raises PackError for an unknown section."""
    unknown = [name for name in overrides if name not in (section.name for section in fields(PackConfig))]
    if unknown:
        raise PackError(f"unknown section {', '.join(unknown)} of the pack's configuration")
    return replace(config, **{name: {**getattr(config, name), **entries} for name, entries in overrides.items()})


def find_pack(data_root: str | Path) -> Path:
    """The folder of a pack: as given, or by its name under checkpoints/. Raises PackError with the nearest name."""
    if str(data_root) == "auto":
        LOG.info("model pack: %s (embedded default)", EMBEDDED.name)
        return EMBEDDED
    for root in (Path(data_root), CHECKPOINTS / str(data_root)):
        if root.is_dir():
            return root
    known = sorted(path.name for path in CHECKPOINTS.iterdir() if path.is_dir())
    near = difflib.get_close_matches(Path(data_root).name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known packs: auto, {', '.join(known)}"
    raise PackError(f"no model pack at {data_root}; {hint}")


def model_files(config: PackConfig, root: Path) -> dict[str, Path]:
    """Path of each entry's model: inside the pack, else as given (spec 2.3). PackError names all that are missing."""
    named = {name: entry["model_path"] for name, entry in config.base_cfg.items() if entry.get("model_path")}
    named["audio2motion_cfg"] = config.audio2motion_cfg["model_path"]
    files = {name: root / path if (root / path).is_file() else Path(path) for name, path in named.items()}
    missing = [str(root / named[name]) for name, path in files.items() if not path.is_file()]
    if missing:
        raise PackError(f"model files missing: {', '.join(missing)}; restore the pack (git checkout or download)")
    return files
