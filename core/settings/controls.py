"""Controls of single frames and of all, in every form in which they are given; fades (spec pipeline.md 13.6, 13.7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from core.errors import InputError
from core.settings.emotions import parse_emotion
from core.settings.names import unknown_name
from core.settings.options import CONTROL_RANGES, ControlOptions
from core.settings.timeline import Timeline

Controls = Mapping[str, Any]
# control -> least and greatest value; None: other than one number
CONTROLS = {**CONTROL_RANGES, "fade_alpha": (0.0, 1.0), "delta_exp": None, "fade_out_keys": None, "emo": None}


class ControlTrack(Mapping[int, dict[str, Any]]):
    """Two sets of controls as one, for any number of frames; where both speak of a control, `above` counts."""

    def __init__(self, below: Mapping[int, Controls], above: Mapping[int, Controls]):
        self.layers = (below, above)

    def __getitem__(self, frame: int) -> dict[str, Any]:
        below, above = (layer.get(frame) for layer in self.layers)
        if below is None and above is None:
            raise KeyError(frame)
        return {**(below or {}), **(above or {})}

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(set().union(*self.layers)))

    def __len__(self) -> int:
        return len(set().union(*self.layers))


def mentions(controls: Mapping[int, Controls], names: Collection[str]) -> bool:
    """Whether any frame has one of these controls."""
    if isinstance(controls, ControlTrack):
        return any(mentions(layer, names) for layer in controls.layers)
    sets = [controls.curves] if isinstance(controls, Timeline) else controls.values()
    return any(name in one for one in sets for name in names)


def overall_controls(overall: Controls, chosen: ControlOptions) -> dict[str, Any]:
    """Controls of every frame: those of the pack or script, and over them what was chosen by name."""
    values = {f.name: getattr(chosen, f.name) for f in fields(chosen)}
    return {**overall, **{name: value for name, value in values.items() if value is not None}}


def frame_controls(ctrl_info: Mapping[int, Controls] | Iterable[Controls] | None) -> Mapping[int, dict[str, Any]]:
    """Any accepted form of `ctrl_info` -> frame number -> controls, copied. Raises InputError for anything else."""
    if isinstance(ctrl_info, ControlTrack):
        return ctrl_info
    if isinstance(ctrl_info, Timeline):
        for name, curve in ctrl_info.curves.items():
            for value in curve.values:
                check_controls({name: value}, "timeline")
        return ctrl_info
    if ctrl_info is not None and not isinstance(ctrl_info, (Mapping, Sequence)) or isinstance(ctrl_info, str):
        raise InputError(f"ctrl_info is a {type(ctrl_info).__name__}; give frame number -> controls, or a list of them")
    listed = ctrl_info.items() if isinstance(ctrl_info, Mapping) else enumerate(ctrl_info or ())
    out = {}
    for frame, controls in listed:
        if not isinstance(frame, (int, np.integer)) or not isinstance(controls or {}, Mapping):
            raise InputError(f"ctrl_info holds {frame!r}: {controls!r}; it is frame number -> controls by name")
        out[int(frame)] = check_controls(dict(controls or {}), f"ctrl_info of frame {frame}")
    return out


def check_controls(controls: dict[str, Any], where: str) -> dict[str, Any]:
    """The controls as they are. Raises InputError for one that does not exist or is out of its range."""
    for name, value in controls.items():
        if name not in CONTROLS:
            raise InputError(f"{where}: {unknown_name('control', name, CONTROLS)}")
        if name == "emo":
            parse_emotion(value)
        if CONTROLS[name] is None:
            continue
        low, high = CONTROLS[name]
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise InputError(f"{where}: {name} is {value!r}; it must be {low:g} .. {high:g}")
    return controls


def merged_controls(
    below: Mapping[int, Controls] | Iterable[Controls] | None, above: Mapping[int, Controls] | Iterable[Controls] | None
) -> Mapping[int, dict[str, Any]]:
    """Two sets of controls as one; where both speak of the same control of a frame, `above` counts."""
    below, above = frame_controls(below), frame_controls(above)
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return ControlTrack(below, above)
    return {frame: {**below.get(frame, {}), **above.get(frame, {})} for frame in {**below, **above}}


def build_controls(
    n: int, fade_in: int = -1, fade_out: int = -1, ctrl_info: Mapping[int, Controls] | Sequence[Controls] | None = None
) -> Mapping[int, dict[str, Any]]:
    """Controls of each output frame, with the fades written in; the caller's own are not changed.

    Args:
        n: output frames.
        fade_in, fade_out: frames at the start and the end whose motion is faded; 0 or less is none.
        ctrl_info: frame number -> controls, a list of controls, or a Timeline.
    """
    fades = {i: {"fade_alpha": i / fade_in} for i in range(fade_in)}
    if fade_out > 0:
        for i in range(max(n - fade_out - 1, 0), n):
            fades[i] = {"fade_alpha": (n - 1 - i) / fade_out}
    return merged_controls(ctrl_info, fades)
