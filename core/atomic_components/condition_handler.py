"""Speech features plus emotion, eyes and face shape: what the motion model is conditioned on (spec pipeline.md 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.atomic_components.emotion import EMOTION_CONTROLS, EmotionTrack
from core.avatars.avatar import Avatar
from core.errors import InputError
from core.motion import MOTION_DIM, SCALE, SLICES, mirror_index
from core.settings.controls import Controls, mentions
from core.settings.emotions import EMOTIONS, parse_emotion
from core.settings.options import ConditionOptions


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
        neutral: the row of the eyes that `eye_f0_mode` takes.
        shown: output frame -> row of the eyes; None: the rows are played back and forth.
    """

    start: np.ndarray
    eye_open: np.ndarray
    eye_ball: np.ndarray
    sc: np.ndarray
    is_reference: bool = False
    neutral: int = 0
    shown: Callable[[int], int] | None = None

    @property
    def scale(self) -> float:
        """Real scale of the character's face."""
        return float(self.start[SCALE][0]) + 1

    @classmethod
    def of_avatar(cls, avatar: Avatar) -> Character:
        """The user's own face."""
        start = avatar.motion.data[avatar.reference] if avatar.start is None else avatar.start
        eyes = avatar.eye_open, avatar.eye_ball
        return cls(start.copy(), *eyes, avatar.sc, neutral=avatar.reference, shown=avatar.source_at)

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


class ConditionHandler:
    """Builds condition rows for any range of output frames."""

    def __init__(
        self,
        character: Character,
        options: ConditionOptions,
        parts: ConditionParts,
        overall: Controls | None = None,
    ):
        """`overall` holds controls of every frame. Raises InputError for what is no emotion."""
        self._parts = parts
        self._emotion = EmotionTrack(options.emo, overall)
        self._eye_open, self._eye_ball = character.eye_open, character.eye_ball
        self._shown = (lambda _: character.neutral) if options.eye_f0_mode else character.shown
        self._sc = character.sc

    def set_controls(self, controls: Mapping[int, Controls]) -> None:
        """Controls of single frames, of which emotion, its strength and the smile matter here."""
        self._emotion.set_controls(controls if mentions(controls, EMOTION_CONTROLS) else None)

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
        columns, shown = [audio], self._shown
        if self._parts.use_emo:
            columns.append(self._emotion_rows(frames, emo))
        for used, rows in ((self._parts.use_eye_open, self._eye_open), (self._parts.use_eye_ball, self._eye_ball)):
            if used:
                columns.append(rows[[mirror_index(i, len(rows)) if shown is None else shown(i) for i in frames]])
        if self._parts.use_sc:
            columns.append(np.broadcast_to(self._sc, (n, len(self._sc))))
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def _emotion_rows(self, frames: list[int], emo: Any) -> np.ndarray:
        if emo is None:
            return self._emotion(frames)
        rows = parse_emotion(emo)
        if len(rows) == 1:
            return np.broadcast_to(rows, (len(frames), len(EMOTIONS)))
        if len(rows) < len(frames):
            raise InputError(f"emo has {len(rows)} rows for {len(frames)} frames; give one row or at least as many")
        return rows[: len(frames)]
