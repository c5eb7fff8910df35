"""One frame of motion while it is stitched: mixing, expression masks, gaze (spec pipeline.md 13.2 to 13.4, 13.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.motion import EXP, MOTION_DIM, NUM_BINS, PITCH, ROLL, SCALE, SLICES, Motion, MotionSpace, bins_to_degrees

ANGLES = ("pitch", "yaw", "roll")
_LOGITS = slice(PITCH.start, ROLL.stop)
_IMAGE_KEYS = ("exp", *ANGLES, "t")
_VIDEO_KEYS = ("exp",)


@dataclass
class Pose:
    """One frame on its way: the 265 numbers with real scale, and angles that a control has turned into degrees."""

    vector: np.ndarray
    degrees: dict[str, float]

    @classmethod
    def of(cls, motion: Motion) -> Pose:
        vector = motion.data[0].copy()
        vector[SCALE] += 1
        return cls(vector, {})

    @property
    def exp(self) -> np.ndarray:
        return self.vector[EXP]

    def copy(self) -> Pose:
        return Pose(self.vector.copy(), dict(self.degrees))

    def angles(self) -> np.ndarray:
        """(3,) pitch, yaw, roll in degrees."""
        angles = bins_to_degrees(self.vector[_LOGITS].reshape(3, NUM_BINS))
        for i, name in enumerate(ANGLES):
            if name in self.degrees:
                angles[i] = self.degrees[name]
        return angles

    def angle(self, name: str) -> float:
        """One angle in degrees."""
        if name in self.degrees:
            return self.degrees[name]
        return float(bins_to_degrees(self.vector[None, SLICES[name]])[0])


@dataclass(frozen=True)
class Mix:
    """Which of the 265 numbers are driven and by how much.

    Attributes:
        driven: (265,) bool.
        gain: (265,) float32 factor on the change since the reference frame, or on the value when there is none.
    """

    driven: np.ndarray
    gain: np.ndarray

    @classmethod
    def plan(cls, keys: Sequence[str] | Mapping[str, float] | None, is_image: bool, ratio: float = 1.0) -> Mix:
        """Read `use_d_keys`; `ratio` is the scale of the character over that of the source (spec 13.3).

        Raises InputError for parts that do not exist.
        """
        if keys is None:
            keys = _IMAGE_KEYS if is_image else _VIDEO_KEYS
        unknown = [key for key in keys if key not in SLICES]
        if unknown:
            raise InputError(f"use_d_keys names {', '.join(map(repr, unknown))}; the parts are {', '.join(SLICES)}")
        factors = keys if isinstance(keys, Mapping) else dict.fromkeys(keys, 1.0)
        driven, gain = np.zeros(MOTION_DIM, bool), np.ones(MOTION_DIM, np.float32)
        for key, factor in factors.items():
            driven[SLICES[key]] = True
            gain[SLICES[key]] = factor * (ratio if key == "exp" or key in ANGLES else 1)
        return cls(driven, gain)

    def keeps_pose(self) -> bool:
        """Whether scale, angles and place stay those of the source."""
        return not self.driven[: EXP.start].any()

    def apply(self, driving: Pose, source: Pose, reference: np.ndarray | None) -> Pose:
        """Driven parts over the source's. Angle differences are taken on the logits, as the models were tuned for."""
        if reference is None:
            value = driving.vector * self.gain
        else:
            value = source.vector + (driving.vector - reference) * self.gain
        return Pose(np.where(self.driven, value, source.vector), {})


def expression_masks(space: MotionSpace, drive_eye: bool, has_blink: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(63,) shares of the mixed expression, the source's and the blink's."""
    lip, eye = space.lip_mask(), space.eye_mask()
    none = np.zeros_like(lip)
    if not drive_eye:
        return lip, 1 - lip, none
    return (lip, 1 - lip, eye) if has_blink else (np.maximum(lip, eye), 1 - np.maximum(lip, eye), none)


def follow_gaze(angles: np.ndarray, source_angles: np.ndarray) -> tuple[float, float]:
    """Degrees by which the eyes turn right and up so as to stay on the viewer, as the reference has it (spec 13.8)."""
    return 0.26 * (angles[1] - source_angles[1]), 0.28 * (angles[0] - source_angles[0])


def shift_gaze(exp: np.ndarray, right: float, up: float) -> None:
    """Turn the eyes of the official motion space: keypoints 11 and 15 (spec 13.8). Changes `exp` (63,)."""
    outer, inner = (0.0007, 0.001) if right > 0 else (0.001, 0.0007)
    exp[33] += outer * right
    exp[45] += inner * right
    exp[[34, 46]] -= 0.001 * up
