"""Which model files the configuration of a pack names, and where they are (spec pipeline.md 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.settings.options import PackConfig

MARK_OF_EMBEDDED = "motion_space_cfg"  # an entry that only the embedded pack has
OFFICIAL_ENTRIES = (
    *("insightface_det_cfg", "landmark106_cfg", "landmark203_cfg", "landmark478_cfg"),
    *("appearance_extractor_cfg", "motion_extractor_cfg", "stitch_network_cfg", "warp_network_cfg", "decoder_cfg"),
)
SPEECH_ENTRIES = {"hubert": "hubert_cfg", "wavlm": "wavlm_cfg"}  # w2f_type -> entry of its model
FLAGS = ("use_emo", "use_eye_open", "use_eye_ball", "use_sc")
MOTION_KEYS = ("model_path", "seq_frames", "motion_feat_dim", "audio_feat_dim", "w2f_type", *FLAGS)


def find_models(config: PackConfig, root: Path) -> tuple[dict[str, Path], list[str]]:
    """Path of each entry's model: inside the pack, else as given (spec 2.3); and what is lacking, in words.

    The 478 landmarks have `landmark478_cfg.task_path`, or the same with the names of the two paths.
    """
    named, lacking = model_paths(config)
    files = {name: root / path if (root / path).is_file() else Path(path) for name, path in named.items()}
    missing = [str(root / named[name]) for name, path in files.items() if not path.is_file()]
    if missing:
        lacking.append(f"model files missing: {', '.join(missing)}; restore the pack (git checkout or download)")
    return files, lacking


def model_paths(config: PackConfig) -> tuple[dict[str, str], list[str]]:
    """Entry -> path as the configuration has it, and what the configuration lacks, in words."""
    entries, motion = config.base_cfg, config.audio2motion_cfg
    if MARK_OF_EMBEDDED in entries:
        paths = {name: entry["model_path"] for name, entry in entries.items() if _is_path(entry.get("model_path"))}
        lacking = [] if _is_path(motion.get("model_path")) else ["audio2motion_cfg.model_path"]
    else:
        paths, lacking = _official_paths(config)
    if _is_path(motion.get("model_path")):
        paths["audio2motion_cfg"] = motion["model_path"]
    problems = [f"the pack's configuration has no {', '.join(lacking)}"] if lacking else []
    kind = motion.get("w2f_type")
    if MARK_OF_EMBEDDED not in entries and "w2f_type" in motion and kind not in SPEECH_ENTRIES:
        problems.append(f"w2f_type is '{kind}'; speech features can be {' or '.join(SPEECH_ENTRIES)}")
    return paths, problems


def _official_paths(config: PackConfig) -> tuple[dict[str, str], list[str]]:
    """Paths in `base_cfg` of an official pack, and the keys that are not there."""
    entries, motion = config.base_cfg, config.audio2motion_cfg
    speech = SPEECH_ENTRIES.get(motion.get("w2f_type", "hubert"))
    wanted = (*OFFICIAL_ENTRIES, speech) if speech else OFFICIAL_ENTRIES
    lacking = [f"base_cfg.{name}" for name in wanted if name not in entries]
    lacking += [f"audio2motion_cfg.{key}" for key in MOTION_KEYS if key not in motion]
    paths = {}
    for name in (name for name in wanted if name in entries):
        for key, target in _path_keys(name, entries[name]).items():
            if _is_path(entries[name].get(key)):
                paths[target] = entries[name][key]
            else:
                lacking.append(f"base_cfg.{name}.{key}")
    return paths, lacking


def _path_keys(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """Keys of an entry that hold a path -> name of that file."""
    if name != "landmark478_cfg":
        return {"model_path": name}
    pair = ("blaze_face_model_path", "face_mesh_model_path")
    task = entry.get("task_path") and (entry.get("force_ori_type") or not any(entry.get(key) for key in pair))
    return {key: f"{name}.{key}" for key in (("task_path",) if task else pair)}


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
