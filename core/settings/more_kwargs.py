"""The reference's `more_kwargs`: options of setup and of the run in one dictionary or file (spec pipeline.md 17.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.settings.controls import merged_controls
from core.settings.safe_pickle import load_plain_pickle
from core.settings.yaml_config import read_yaml

RUN_KEYS = ("fade_in", "fade_out", "ctrl_info", "chunksize")


def options_from(more: Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
    """Options of a run from `{"setup_kwargs": {...}, "run_kwargs": {...}}` or the .pkl or .yaml file of one.

    Both may have `ctrl_info`: they are merged, and the run's counts where they disagree. Nothing that is passed in is
    kept or changed. Raises InputError for anything else, PackError for a file that cannot be read safely.
    """
    if isinstance(more, (str, Path)):
        more = _read(Path(more))
    if more is None:
        return {}
    if not isinstance(more, Mapping) or not set(more) <= {"setup_kwargs", "run_kwargs"}:
        raise InputError(f"more_kwargs is {more!r:.80}; it is a dictionary with setup_kwargs and run_kwargs")
    setup, run = (dict(more.get(part) or {}) for part in ("setup_kwargs", "run_kwargs"))
    unknown = [key for key in run if key not in RUN_KEYS]
    if unknown:
        raise InputError(f"run_kwargs has {', '.join(map(repr, unknown))}; it may have {', '.join(RUN_KEYS)}")
    controls = merged_controls(setup.pop("ctrl_info", None), run.pop("ctrl_info", None))
    return {**setup, **run, **({"ctrl_info": controls} if controls else {})}


def _read(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file of more_kwargs")
    return read_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else load_plain_pickle(path)
