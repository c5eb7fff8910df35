"""Keyword arguments -> the options of a run as one typed, checked object (spec pipeline.md section 3).

A value is looked for in this order: given by the caller, `default_kwargs` of the pack, default of the dataclass field.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from core.errors import DittoError, InputError, PackError
from core.settings.emotions import parse_emotion
from core.settings.names import unknown_name
from core.settings.options import CONTROL_RANGES, PackConfig, RunOptions
from core.settings.presets import PRESETS, preset_options

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
    "blend_mode": ("blend", "strong", "replace", "weak", "custom"),
    "color_match": ("auto", "on", "off"),
}


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
    unknown = [unknown_name("option", name, list(known)) for name in values if name not in known]
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
        if declared == "float" and not math.isfinite(value):
            raise blame(f"option '{name}' is {value!r}; it must be a finite number")
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
    if len(numbers) != count or not all(isinstance(n, (int, float, np.number)) and n % 1 == 0 for n in numbers):
        raise blame(f"option '{name}' is {value!r}, expected {count} whole numbers")
    return tuple(int(number) for number in numbers)
