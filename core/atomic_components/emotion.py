"""The emotion of each frame: strength, smile, and their course in time (spec pipeline.md 8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.settings.emotions import emotion_row, parse_emotion

EMOTION_CONTROLS = ("emo", "emo_strength", "smile")  # controls of a frame that this module reads
_EASE = 6  # frames to either side over which a change of emotion is spread: about half a second


class EmotionTrack:
    """The emotion row of any output frame: that of the run, changed by controls of the run and of single frames."""

    def __init__(self, emo: Any, overall: Mapping[str, Any] | None = None):
        """`emo` as in parse_emotion; `overall` holds controls of every frame. Raises InputError."""
        self._base = parse_emotion(emo)
        self._overall = {name: value for name, value in (overall or {}).items() if name in EMOTION_CONTROLS}
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
            neutral = emotion_row(["neutral"])
            row = neutral + np.float32(strength) * (row - neutral)
        if smile:
            towards = emotion_row(["happy" if smile > 0 else "sad"]) - emotion_row(["neutral"])
            row = row + np.float32(abs(smile)) * towards
        return row
