"""Controls over time from a file: YAML, JSON or CSV -> `ctrl_info`, controls per output frame (spec pipeline.md 13.7).

    interpolation: linear            # or step; optional
    keys:
      - {time: 0.0, delta_yaw: 0}
      - {time: 1.5, delta_yaw: 12, emo: happy}
      - {frame: 50, delta_yaw: 0}

A CSV has a column `time` (seconds) or `frame` and one column per control; an empty cell sets nothing there. Each
control keeps its first value before its first key and its last one after its last key. Text and lists change in steps.
"""

from __future__ import annotations

import bisect
import csv
import json
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import InputError, one_line
from core.motion import FPS
from core.settings.csv_rows import csv_rows
from core.settings.names import unknown_name

LOG = logging.getLogger(__name__)
_WHEN = ("time", "frame")
_MODES = ("linear", "step")


@dataclass(frozen=True)
class Curve:
    """One control: `frames` ascending, a value at each, numbers joined by straight lines unless `stepped`."""

    frames: tuple[float, ...]
    values: tuple[Any, ...]
    stepped: bool

    def at(self, frame: float) -> Any:
        """The value at an output frame."""
        right = bisect.bisect_right(self.frames, frame)
        if right == 0:
            return self.values[0]
        if right == len(self.frames) or self.stepped:
            return self.values[right - 1]
        start, end = self.frames[right - 1], self.frames[right]
        low, high = self.values[right - 1], self.values[right]
        return low + (high - low) * (frame - start) / (end - start)


class Timeline(Mapping[int, dict[str, Any]]):
    """`ctrl_info` for any number of frames: timeline[frame] -> controls. Its length is that up to the last key."""

    def __init__(self, curves: Mapping[str, Curve]):
        self.curves = dict(curves)
        last = max((curve.frames[-1] for curve in self.curves.values()), default=-1)
        self._length = math.floor(last) + 1

    def __getitem__(self, frame: int) -> dict[str, Any]:
        if frame < 0:
            raise KeyError(frame)
        return {name: curve.at(frame) for name, curve in self.curves.items()}

    def __iter__(self) -> Iterable[int]:
        return iter(range(self._length))

    def __len__(self) -> int:
        return self._length


def read_timeline(path: str | Path, known: Collection[str], labels: Collection[str] = ("emo",)) -> Timeline:
    """Read a timeline file; `known` are the controls that exist, `labels` those whose numbers are names, not amounts.

    Raises InputError with the file's name for another format, unknown controls, or values that are no numbers where
    others are. Keys that are out of order are sorted, with a warning.
    """
    path = Path(path)
    try:
        content = _parse(path)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, csv.Error) as error:
        raise InputError(f"{path}: cannot read this timeline ({one_line(error)})") from None
    keys, mode = content, "linear"
    if isinstance(content, dict):
        unknown = set(content) - {"keys", "interpolation"}
        if unknown or "keys" not in content:
            raise InputError(f"{path}: a timeline holds 'keys' and, if wanted, 'interpolation', not {sorted(content)}")
        keys, mode = content["keys"], content.get("interpolation", "linear")
    if mode not in _MODES:
        raise InputError(f"{path}: interpolation is {mode!r}; use linear or step")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise InputError(f"{path}: 'keys' must be a list of entries such as {{time: 1.5, delta_yaw: 10}}")
    timed = [(_frame(path, i, key), key) for i, key in enumerate(keys, 1)]
    if any(a[0] > b[0] for a, b in zip(timed, timed[1:])):
        LOG.warning("%s: the keys are not in order of time; they have been sorted", path)
        timed.sort(key=lambda pair: pair[0])
    stepped = known if mode == "step" else labels
    return Timeline(_curves(path, timed, known, stepped))


def _parse(path: Path) -> Any:
    suffix, text = path.suffix.lower(), path.read_text(encoding="utf-8-sig")
    if suffix == ".csv":
        return [{name: _number(cell) for name, cell in row.items()} for row in csv_rows(text)]
    if suffix == ".json":
        return json.loads(text)
    if suffix in (".yaml", ".yml"):
        return yaml.safe_load(text)
    raise ValueError("use .yaml, .json or .csv")


def _number(cell: str) -> float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def _frame(path: Path, number: int, key: Mapping[str, Any]) -> float:
    given = [name for name in _WHEN if name in key]
    if len(given) != 1:
        raise InputError(f"{path}: entry {number} needs either 'time' in seconds or 'frame'")
    value = key[given[0]]
    if not _is_number(value) or value < 0:
        raise InputError(f"{path}: entry {number} has {given[0]} {value!r}; it must be a number from 0 on")
    return value * FPS if given[0] == "time" else float(value)


def _curves(
    path: Path, timed: list[tuple[float, dict]], known: Collection[str], stepped: Collection[str]
) -> dict[str, Curve]:
    points: dict[str, dict[float, Any]] = {}
    for frame, key in timed:
        for name, value in key.items():
            if name in _WHEN:
                continue
            if name not in known:
                raise InputError(f"{path}: {unknown_name('control', name, known)}")
            points.setdefault(name, {})[frame] = value
    return {name: _curve(path, name, at, stepped) for name, at in points.items()}


def _curve(path: Path, name: str, points: Mapping[float, Any], stepped: Collection[str]) -> Curve:
    values = tuple(points.values())
    numbers = [_is_number(value) for value in values]
    if any(numbers) and not all(numbers) and name not in stepped:
        wrong = values[numbers.index(False)]
        raise InputError(f"{path}: control '{name}' is {wrong!r} in one place and a finite number in another")
    return Curve(tuple(points), values, name in stepped or not all(numbers))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
