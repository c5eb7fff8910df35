"""What the official folders lack: a configuration, and file names that suit it (spec pipeline.md 2.5, models.md 2).

`ditto_onnx` is published without a configuration. The published ones name engines of fixed precision, which a folder of
one's own engines need not have. The base names are the same everywhere, so one configuration serves them all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.backends import ENGINE_SUFFIXES
from core.settings.options import PackConfig

LOG = logging.getLogger(__name__)
BUILT_IN = Path(__file__).resolve().parent / "configs" / "ditto_official.yaml"
PUBLISHED = "v0.4_hubert_cfg_trt.pkl"  # offline; lies in ditto_cfg beside the packs
ENGINES = "ditto_trt_*"  # folders of engines below checkpoints/
MARK = "warp_network"  # base name of a file that every official folder of whole networks has
PRECISIONS = ("_fp16", "_fp32")
SECOND_NAMES = {"warp_network": "warp_network_ori"}


def default_config(root: Path) -> Path | None:
    """The configuration for a folder of official ONNX files or engines that holds none, or None for other folders."""
    if not candidates(root, MARK):
        return None
    beside = root.parent / "ditto_cfg" / PUBLISHED
    if beside.is_file():
        return beside
    LOG.info(
        "%s: no configuration in the folder and no ditto_cfg/%s beside it; taking the built-in one",
        root.name,
        PUBLISHED,
    )
    return BUILT_IN


def fit_names(config: PackConfig, root: Path) -> PackConfig:
    """The configuration with names of networks that are not in the pack replaced by its own: decoder_fp16.engine ->
    decoder.onnx, decoder.onnx -> decoder_fp32.engine, and so on. What has no counterpart stays, to be reported missing.
    """
    entries = {name: _fitted(entry, root) for name, entry in config.base_cfg.items()}
    return replace(config, base_cfg=entries, audio2motion_cfg=_fitted(config.audio2motion_cfg, root))


def candidates(root: Path, base: str) -> list[Path]:
    """Files in a pack of the network with that base name: ONNX first, then engines."""
    names = [f"{name}.onnx" for name in (base, SECOND_NAMES.get(base)) if name]
    names += [f"{base}{precision}{suffix}" for suffix in ENGINE_SUFFIXES for precision in (*PRECISIONS, "")]
    return [root / name for name in names if (root / name).is_file()]


def engine_problem(files: Iterable[Path]) -> str:
    """Why the engines among these files cannot be used on this machine, or nothing."""
    engines = [path for path in files if path.suffix.lower() in ENGINE_SUFFIXES]
    if not engines:
        return ""
    from core.backends import tensorrt

    return tensorrt.engine_problem(engines)


def _fitted(entry: Any, root: Path) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    return {key: _fitted_path(value, root) if key.endswith("model_path") else value for key, value in entry.items()}


def _fitted_path(value: Any, root: Path) -> Any:
    path = Path(value) if isinstance(value, str) and value else None
    if path is None or path.suffix.lower() not in (".onnx", *ENGINE_SUFFIXES):
        return value
    if (root / path).is_file() or path.is_file():
        return value
    base = path.stem
    for precision in PRECISIONS:
        base = base.removesuffix(precision)
    found = candidates(root, base)
    return found[0].name if found else value
