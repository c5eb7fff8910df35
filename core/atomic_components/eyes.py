"""Eye controls while a frame is stitched: openness and gaze (spec pipeline.md 13.4, 13.8)."""

from __future__ import annotations

import numpy as np

from core.atomic_components.pose import follow_gaze, shift_gaze
from core.motion import NUM_KEYPOINTS, MotionSpace

EYEBALL = 0.133  # radius in distances of the outer eye corners
WIDE = 0.3  # part of a blink's way that lids go the other way when the eyes are wide open
LIDDED = 1.35  # power of a closure: lids half way down would hide three quarters of an eye
FOLLOW = 0.5  # part of a head's turn that eyes of explicit packs make up for, so as to stay on the viewer


class Lids:
    """How far the lids are shut, along the way that the blink of this face goes."""

    def __init__(self, blink: np.ndarray):
        """`blink` (m, 63), row 0 open."""
        self._blink = blink
        change = blink - blink[0]
        size = (change**2).sum(axis=1)
        self._peak = blink[int(size.argmax())]
        self._shut = self._peak - blink[0]
        self._closure = np.clip(change @ self._shut / max(float(size.max()), 1e-12), 0, 1)

    def open_share(self, row: int, mask: np.ndarray) -> np.ndarray:
        """(63,) 1, and on `mask` as much less as the lids are shut in a row of the blink."""
        return 1 - self._closure[row] * mask

    def set(self, exp: np.ndarray, openness: float, row: int, mask: np.ndarray) -> None:
        """Change `exp` (63,), which holds blink row `row`, on `mask` (63,): -1 shut .. 0 as it is .. 1 wide."""
        if openness < 0:
            exp += (-openness) ** LIDDED * mask * (self._peak - self._blink[row])
        else:
            exp -= openness * WIDE * (1 - self._closure[row]) * mask * self._shut


def turn_eyes(
    exp: np.ndarray, space: MotionSpace, follow: bool, angles: np.ndarray, source: np.ndarray, x: float, y: float
) -> None:
    """Let the eyes look `x` degrees to the right and `y` up of where they do, and if they `follow`, stay on the viewer.

    Args:
        exp: (63,), changed in place.
        angles, source: (3,) pitch, yaw, roll in degrees of this frame's head and of the source's.
    """
    if space.lid_pairs:
        share = FOLLOW if follow else 0.0
        side, up = x + share * (angles[1] - source[1]), y + share * (angles[0] - source[0])
        points = exp.reshape(NUM_KEYPOINTS, 3)
        lids = [lid for pair in space.lid_pairs for lid in pair]
        points[lids, 0] += EYEBALL * np.sin(np.radians(side))
        points[lids, 2] += EYEBALL * np.sin(np.radians(up))
    elif space.gaze:
        right, higher = follow_gaze(angles, source) if follow else (0.0, 0.0)
        shift_gaze(exp, right + x, higher + y)
