"""Emotion rows of the condition: names, mixtures, strength, smile, and their course in time (spec pipeline.md 8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.errors import InputError

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "contempt")
CONTROLS = ("emo", "emo_strength", "smile")  # controls of a frame that this module reads
_WEIGHT = 8.0
_HAPPY, _NEUTRAL, _SAD = (EMOTIONS.index(name) for name in ("happy", "neutral", "sad"))
_EASE = 6  # frames to either side over which a change of emotion is spread: about half a second
_FULL = 1 + 1e-6  # greatest sum of the parts of a mixture, with room for rounding


def parse_emotion(emo: Any) -> np.ndarray:
    """Any accepted form of `emo` -> (m, 8) float32 rows (spec 8.2).

    One label (0..7, or a name such as "happy"), several mixed in one row ("happy,surprise" or a list), a mixture by
    parts ("happy:0.7,surprise:0.3" or a dictionary; what is missing to 1 is neutral), a list of lists (one row each),
    or a float array (m, 8) that is used as it is. Raises InputError for anything else.
    """
    if isinstance(emo, str):
        emo = _parts(emo) if ":" in emo else emo.split(",")
    if isinstance(emo, Mapping):
        return _weighted_row(emo)[None]
    if isinstance(emo, np.ndarray):
        if emo.ndim == 2 and emo.shape[1] == len(EMOTIONS) and emo.dtype.kind == "f" and len(emo):
            return emo.astype(np.float32)
        emo = emo.tolist()
    if not isinstance(emo, (list, tuple)):
        emo = [emo]
    nested = [isinstance(e, (list, tuple)) for e in emo]
    rows = list(emo) if emo and all(nested) else [emo]
    return np.stack([_mixed_row(row) for row in rows])


def _parts(text: str) -> dict[str, float]:
    """ "happy:0.7,surprise:0.3" -> names and numbers."""
    parts: dict[str, float] = {}
    for piece in text.split(","):
        name, colon, share = piece.partition(":")
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not colon or name.strip() in parts or not np.isfinite(value):
            raise InputError(f"emo is {text!r}; a mixture is written like happy:0.7,surprise:0.3")
        parts[name.strip()] = value
    return parts


def _weighted_row(parts: Mapping[Any, Any]) -> np.ndarray:
    """(8,) float32 for label -> part of the whole."""
    numbers = [isinstance(part, (int, float)) and not isinstance(part, bool) for part in parts.values()]
    if not parts or not all(numbers) or not all(part >= 0 for part in parts.values()) or sum(parts.values()) > _FULL:
        raise InputError(f"emo is {dict(parts)!r}; the parts of a mixture are 0 .. 1 and add up to 1 at most")
    neutral = _mixed_row([_NEUTRAL])
    row = neutral.copy()
    for label, part in parts.items():
        row += np.float32(part) * (_mixed_row([label]) - neutral)
    return row


def _mixed_row(labels: list | tuple) -> np.ndarray:
    """(8,) float32: softmax of 8 on each label and 0 elsewhere."""
    logits = np.zeros(len(EMOTIONS))
    if not labels:
        raise InputError(f"emo is empty; give {_accepted()}")
    logits[[_label(value) for value in labels]] = _WEIGHT
    weights = np.exp(logits)
    return (weights / weights.sum()).astype(np.float32)


def _label(value: Any) -> int:
    if isinstance(value, str):
        name = value.strip().lower()
        if name in EMOTIONS:
            return EMOTIONS.index(name)
        if name.isdecimal():
            value = int(name)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= value < len(EMOTIONS):
        return int(value)
    raise InputError(f"emo value {value!r} is not an emotion; give {_accepted()}")


def _accepted() -> str:
    return "0..7 or " + ", ".join(f"{name} ({i})" for i, name in enumerate(EMOTIONS))


class EmotionTrack:
    """The emotion row of any output frame: that of the run, changed by controls of the run and of single frames."""

    def __init__(self, emo: Any, overall: Mapping[str, Any] | None = None):
        """`emo` as in parse_emotion; `overall` holds controls of every frame. Raises InputError."""
        self._base = parse_emotion(emo)
        self._overall = {name: value for name, value in (overall or {}).items() if name in CONTROLS}
        self._controls: Mapping[int, Mapping[str, Any]] | None = None
        self._rows: dict[int, np.ndarray] = {}

    def set_controls(self, controls: Mapping[int, Mapping[str, Any]] | None) -> None:
        """Controls of single frames; None when none of them speaks of emotion."""
        self._controls = controls
        self._rows.clear()

    def __call__(self, frames: list[int]) -> np.ndarray:
        """Frame numbers, ascending and from 0 on -> (n, 8) float32. Changes that controls make come gradually."""
        if self._controls is None:
            return np.stack([self._row(i) for i in frames])
        around = [[max(i + k, 0) for k in range(-_EASE, _EASE + 1)] for i in frames]
        rows = np.stack([np.mean([self._known(k) for k in near], axis=0) for near in around])
        for old in [k for k in self._rows if k < frames[0] - _EASE]:
            del self._rows[old]
        return rows.astype(np.float32)

    def _known(self, frame: int) -> np.ndarray:
        if frame not in self._rows:
            self._rows[frame] = self._row(frame)
        return self._rows[frame]

    def _row(self, frame: int) -> np.ndarray:
        own = self._controls.get(frame, {}) if self._controls is not None else {}
        controls = {**self._overall, **own}
        row = self._base[frame % len(self._base)]
        if "emo" in controls:
            row = parse_emotion(controls["emo"])[0]
        strength, smile = controls.get("emo_strength", 1.0), controls.get("smile", 0.0)
        if strength != 1:
            neutral = _mixed_row([_NEUTRAL])
            row = neutral + np.float32(strength) * (row - neutral)
        if smile:
            towards = _mixed_row([_HAPPY if smile > 0 else _SAD]) - _mixed_row([_NEUTRAL])
            row = row + np.float32(abs(smile)) * towards
        return row
