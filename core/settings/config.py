"""The options of a run as one typed object, and the configuration file of a pack. Spec sections 2 and 3.

A value is looked for in this order: given by the caller, `default_kwargs` of the pack, default of the dataclass field.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic_components.emotion import parse_emotion
from core.errors import DittoError, InputError, PackError
from core.settings.options import (
    CONTROL_RANGES,
    BlendOptions,
    ConditionOptions,
    ControlOptions,
    CropOptions,
    MotionOptions,
    StitchOptions,
)
from core.settings.presets import PRESETS, preset_options
from core.settings.safe_pickle import load_plain_pickle
from core.settings.yaml_config import read_yaml

RANGES = {  # option: least and greatest value
    "seed": (0, 2**32 - 1),
    "crf": (0, 51),
    "crop_scale": (1.0, 8.0),
    "crop_vx_ratio": (-0.5, 0.5),
    "crop_vy_ratio": (-0.5, 0.5),
    "sampling_timesteps": (1, 1000),
    "smo_k_d": (0, 250),
    "smo_k_s": (0, 250),
    "blend_alpha": (0.0, 1.0),
    "fps": (1.0, 120.0),
    "reference_frame": (-1, 10**9),
    "motion_frames": (0, 10**9),
    **CONTROL_RANGES,
}
CHOICES = {  # option: its values
    "sampler": ("ddim", "dpm"),
    "preset": PRESETS,
    "loop": ("mirror", "loop", "hold", "once"),
    "region": ("auto", "crop", "face", "lower", "mouth"),
    "color_match": ("auto", "on", "off"),
}


@dataclass(frozen=True)
class SourceOptions:
    """How the source is read and registered."""

    max_size: int = 1920  # longest side of source frames in pixels; <= 0 leaves them alone
    template_n_frames: int = -1  # frames of a source video that are used; <= 0: as many as the output has, or all
    smo_k_s: int = 13  # frames averaged in the motion of a source video
    resample: bool = True  # take a source video's frames by their time; off: one per output frame, whatever its rate
    cache: bool = True  # keep what was found in a source on disk, for the next run with it
    loop: str = "mirror"  # after a source video's end: mirror, loop, hold; once: the result is as long as the source
    reference_frame: int = -1  # frame of a source video that motion starts from; -1: its most neutral one
    motion_frames: int = 0  # take the lips at rest from the first frames of a source video; 0: from every frame itself
    motion_legacy: bool = False  # motion_frames as in the fork, which keeps every frame's lips and smooths nothing
    alpha: bool = False  # keep the transparency of the source


@dataclass(frozen=True)
class WriterOptions:
    """How the result is written."""

    crf: int = 18  # quality of x264, 0 (lossless) .. 51
    tag: bool = True  # say in the file's metadata that the video is synthetic
    fps: float = 25.0  # frames per second of the result; the motion is resampled
    encoder: str = "auto"  # H.264 by hardware where it works, else libx264; or the name of an encoder


@dataclass(frozen=True)
class RunOptions:
    """Everything that decides a run besides source, audio and pack. See make_options."""

    source: SourceOptions = field(default_factory=SourceOptions)
    crop: CropOptions = field(default_factory=CropOptions)
    condition: ConditionOptions = field(default_factory=ConditionOptions)
    motion: MotionOptions = field(default_factory=MotionOptions)
    stitch: StitchOptions = field(default_factory=StitchOptions)
    control: ControlOptions = field(default_factory=ControlOptions)
    blend: BlendOptions = field(default_factory=BlendOptions)
    writer: WriterOptions = field(default_factory=WriterOptions)
    seed: int = 0  # decides head motion, blinks and sampling noise
    online_mode: bool = False  # motion from chunks of audio instead of the whole clip
    chunksize: tuple[int, int, int] | None = None  # online: past, current, future frames per window; None: the pack's
    vad: bool = False  # rest the lips while the sound holds no voice, by an energy gate; packs may do so by themselves
    N_d: int = -1  # output frames; -1: not known yet
    fade_in: int = -1  # frames over which the motion grows from the fade target; -1 none
    fade_out: int = -1  # frames over which it returns there; -1 none
    # output frame -> controls, or a list of the controls of frame 0, 1, ..
    ctrl_info: Mapping[int, Mapping[str, Any]] | Sequence[Mapping[str, Any]] = field(default_factory=dict)
    preset: str = ""  # see core.settings.presets; what is given by name goes before it
    ch_info: Mapping[str, Any] | None = None  # reference character in place of the source's own state (spec 8.4)


@dataclass(frozen=True)
class PackConfig:
    """What a pack's configuration file holds."""

    base_cfg: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # model name -> path, device, ...
    audio2motion_cfg: Mapping[str, Any] = field(default_factory=dict)  # motion model and what its condition holds
    default_kwargs: Mapping[str, Any] = field(default_factory=dict)  # options of runs with this pack
    online_kwargs: Mapping[str, Any] = field(default_factory=dict)  # those that are different in online mode
    motion_space: Mapping[str, Any] = field(default_factory=dict)  # what the 21 keypoints mean, where not the usual


def load_config(path: str | Path) -> PackConfig:
    """Reads a `.pkl` of plain data or a `.yaml` with the same keys.

    Raises PackError with the file's name and everything in it that is unknown or of the wrong kind.
    """
    config, problems = read_config(path)
    problems += option_problems(config)
    if problems:
        raise PackError(f"{path}: {'; '.join(problems)}")
    return config


def read_config(path: str | Path) -> tuple[PackConfig, list[str]]:
    """The usable sections of a configuration file, and what is wrong with the others.

    Raises PackError when the file is missing or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise PackError(f"{path}: no such configuration file")
    content = read_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else load_plain_pickle(path)
    if not isinstance(content, dict):
        raise PackError(f"{path}: a configuration is a dictionary, this is a {type(content).__name__}")
    known = [section.name for section in fields(PackConfig)]
    sections, problems = {}, []
    for name, section in content.items():
        if name not in known:
            problems.append(_unknown("section", name, known))
        elif not isinstance(section, dict):
            problems.append(f"section '{name}' is a {type(section).__name__}, not a dictionary")
        else:
            sections[name] = section
    for name, entry in list(sections.get("base_cfg", {}).items()):
        if not isinstance(entry, dict):
            problems.append(f"entry '{name}' of base_cfg is a {type(entry).__name__}, not a dictionary")
            sections["base_cfg"] = {key: value for key, value in sections["base_cfg"].items() if key != name}
    return PackConfig(**sections), problems


def option_problems(config: PackConfig) -> list[str]:
    """What is wrong with `default_kwargs`."""
    try:
        make_options(config)
    except PackError as error:
        return [str(error)]
    return []


def make_options(config: PackConfig | None = None, **given: Any) -> RunOptions:
    """Options of a run from the pack's defaults for its mode and the keyword names of spec section 3, plus ours.

    Nothing that is passed in is kept or changed. Raises InputError for an unknown name (with the nearest one) or a
    value of the wrong type, PackError when the pack's configuration is to blame.
    """
    config = config or PackConfig()
    given = _checked(given, InputError)
    values = _checked(config.default_kwargs, PackError)
    online = _checked(config.online_kwargs, PackError)
    if given.get("online_mode", values.get("online_mode", RunOptions.online_mode)):
        values.update(online)
    values.update(preset_options(given.get("preset", ""), {**values, **given}))
    values.update(given)
    if "emo" in given:
        parse_emotion(given["emo"])
    if values.get("blink_rate") is not None and "delta_eye_open_n" in given:
        raise InputError("blink_rate and delta_eye_open_n both say when to blink; give one of them")
    groups = {}
    for group in fields(RunOptions):
        if is_dataclass(group.default_factory):
            kind = group.default_factory
            groups[group.name] = kind(**{f.name: values.pop(f.name) for f in fields(kind) if f.name in values})
    return RunOptions(**groups, **values)


def option_names() -> dict[str, str]:
    """Name of every option -> its declared type."""
    names = {}
    for group in fields(RunOptions):
        if is_dataclass(group.default_factory):
            names.update((f.name, str(f.type)) for f in fields(group.default_factory))
        else:
            names[group.name] = str(group.type)
    return names


def _checked(values: Mapping[str, Any], blame: type[DittoError]) -> dict[str, Any]:
    known = option_names()
    unknown = [_unknown("option", name, list(known)) for name in values if name not in known]
    if unknown:
        raise blame("; ".join(unknown))
    converted = {name: _convert(name, value, known[name], blame) for name, value in values.items()}
    for name, (low, high) in RANGES.items():
        if converted.get(name) is not None and not low <= converted[name] <= high:
            raise blame(f"option '{name}' is {converted[name]}; it must be {low} .. {high}")
    for name, allowed in CHOICES.items():
        if name in converted and converted[name] not in allowed:
            choice = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
            raise blame(f"option '{name}' is {converted[name]!r}; it must be {choice}")
    return converted


def _convert(name: str, value: Any, declared: str, blame: type[DittoError]) -> Any:
    """The value as the declared type, copied; numpy scalars become Python's, lists become arrays and tuples."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None and "None" in declared:
        return None
    if value is None and declared.startswith("Mapping"):
        return {}
    declared = declared.removesuffix(" | None") if declared in ("float | None", "bool | None") else declared
    if declared in ("int", "float", "str", "bool"):
        wanted = {"int": int, "float": (int, float), "str": str, "bool": bool}[declared]
        if not isinstance(value, wanted) or (isinstance(value, bool) and declared != "bool"):
            raise blame(f"option '{name}' is {value!r}, expected a value of type {declared}")
        return float(value) if declared == "float" else value
    if declared.startswith("np.ndarray"):
        return _array(name, value, blame)
    if declared.startswith("tuple"):
        return _whole_numbers(name, value, declared.count("int"), blame)
    if declared.startswith("Mapping") and "Sequence" not in declared and not isinstance(value, Mapping):
        raise blame(f"option '{name}' is a {type(value).__name__}, expected a dictionary")
    return copy.deepcopy(value)


def _array(name: str, value: Any, blame: type[DittoError]) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float32)
    except (TypeError, ValueError):
        array = np.zeros(0, np.float32)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise blame(f"option '{name}' must be a table of finite numbers")
    return array


def _whole_numbers(name: str, value: Any, count: int, blame: type[DittoError]) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else ()
    if len(numbers) != count or not all(isinstance(n, (int, float, np.number)) and int(n) == n for n in numbers):
        raise blame(f"option '{name}' is {value!r}, expected {count} whole numbers")
    return tuple(int(number) for number in numbers)


def _unknown(what: str, name: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown {what} '{name}'; {hint}"
