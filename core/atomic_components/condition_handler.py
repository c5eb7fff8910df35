"""Speech features plus emotion, eyes and face shape: what the motion model is conditioned on (spec pipeline.md 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.avatar import Avatar
from core.errors import InputError
from core.motion import MOTION_DIM, SCALE, SLICES, mirror_index
from core.options import ConditionOptions

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "contempt")
_EMOTION_WEIGHT = 8.0


@dataclass(frozen=True)
class ConditionParts:
    """Which columns follow the audio columns; fixed by the motion model of the pack."""

    use_emo: bool = True  # 8
    use_eye_open: bool = True  # 2
    use_eye_ball: bool = True  # 6
    use_sc: bool = True  # 63


@dataclass(frozen=True)
class Character:
    """Whose face the motion is generated for: the avatar's own, or the reference character of a pack (spec 8.4).

    Attributes:
        start: (265,) float32 motion that the first window continues from.
        eye_open: (k, 2) float32. eye_ball: (k, 6) float32. sc: (63,) float32.
        is_reference: a reference character, whose scale sets the motion ratio in stitching.
    """

    start: np.ndarray
    eye_open: np.ndarray
    eye_ball: np.ndarray
    sc: np.ndarray
    is_reference: bool = False

    @property
    def scale(self) -> float:
        """Real scale of the character's face."""
        return float(self.start[SCALE][0]) + 1

    @classmethod
    def of_avatar(cls, avatar: Avatar) -> Character:
        """The user's own face."""
        return cls(avatar.motion.data[0].copy(), avatar.eye_open, avatar.eye_ball, avatar.sc)

    @classmethod
    def from_ch_info(cls, info: Mapping[str, Any]) -> Character:
        """The `ch_info` dictionary of a reference configuration. Raises InputError when a key is missing."""
        try:
            parts = info["x_s_info_lst"][0]
            start = np.empty(MOTION_DIM, np.float32)
            for name, where in SLICES.items():
                start[where] = np.asarray(parts[name]).reshape(-1)
            eye_open, eye_ball = (
                np.concatenate([np.asarray(a, np.float32).reshape(-1, width) for a in info[key]])
                for key, width in (("eye_open_lst", 2), ("eye_ball_lst", 6))
            )
            sc = np.asarray(info["sc"], np.float32).reshape(-1)
        except KeyError as error:
            needed = "x_s_info_lst, eye_open_lst, eye_ball_lst and sc"
            raise InputError(f"ch_info has no {error}; it needs {needed}") from None
        start[SCALE] -= 1
        return cls(start, eye_open, eye_ball, sc, is_reference=True)


def parse_emotion(emo: Any) -> np.ndarray:
    """Any accepted form of `emo` -> (m, 8) float32 rows (spec 8.2).

    One label (0..7, or a name such as "happy"), several mixed in one row ("happy,surprise" or a list), a list of lists
    (one row each), or a float array (m, 8) that is used as it is. Raises InputError for anything else.
    """
    if isinstance(emo, str):
        emo = emo.split(",")
    if isinstance(emo, np.ndarray):
        if emo.ndim == 2 and emo.shape[1] == len(EMOTIONS) and emo.dtype.kind == "f" and len(emo):
            return emo.astype(np.float32)
        emo = emo.tolist()
    if not isinstance(emo, (list, tuple)):
        emo = [emo]
    nested = [isinstance(e, (list, tuple)) for e in emo]
    rows = list(emo) if emo and all(nested) else [emo]
    return np.stack([_mixed_row(row) for row in rows])


def _mixed_row(labels: list | tuple) -> np.ndarray:
    """(8,) float32: softmax of 8 on each label and 0 elsewhere."""
    logits = np.zeros(len(EMOTIONS))
    if not labels:
        raise InputError(f"emo is empty; give {_accepted()}")
    logits[[_label(value) for value in labels]] = _EMOTION_WEIGHT
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


class ConditionHandler:
    """Builds condition rows for any range of output frames."""

    def __init__(self, character: Character, options: ConditionOptions, parts: ConditionParts):
        self._parts = parts
        self._emotion = parse_emotion(options.emo)
        eyes = slice(0, 1) if options.eye_f0_mode else slice(None)
        self._eye_open = character.eye_open[eyes]
        self._eye_ball = character.eye_ball[eyes]
        self._sc = character.sc

    def __call__(self, audio: np.ndarray, start: int, emo: Any = None) -> np.ndarray:
        """Condition rows of frames start .. start + n - 1.

        Args:
            audio: (n, D) features.
            start: absolute frame number; negative for the silent warm-up of online mode, which looks like frame 0.
            emo: overrides the emotion in this call: one row, or at least n rows.

        Returns:
            (n, D + columns of the pack's parts) float32. Raises InputError when `emo` has too few rows.
        """
        n = len(audio)
        frames = [max(i, 0) for i in range(start, start + n)]
        columns = [audio]
        if self._parts.use_emo:
            columns.append(self._emotion_rows(frames, emo))
        for used, rows in ((self._parts.use_eye_open, self._eye_open), (self._parts.use_eye_ball, self._eye_ball)):
            if used:
                columns.append(rows[[mirror_index(i, len(rows)) for i in frames]])
        if self._parts.use_sc:
            columns.append(np.broadcast_to(self._sc, (n, len(self._sc))))
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def _emotion_rows(self, frames: list[int], emo: Any) -> np.ndarray:
        if emo is None:
            return self._emotion[[i % len(self._emotion) for i in frames]]
        rows = parse_emotion(emo)
        if len(rows) == 1:
            return np.broadcast_to(rows, (len(frames), len(EMOTIONS)))
        if len(rows) < len(frames):
            raise InputError(f"emo has {len(rows)} rows for {len(frames)} frames; give one row or at least as many")
        return rows[: len(frames)]
