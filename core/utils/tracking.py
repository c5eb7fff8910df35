"""A face from one video frame to the next: is it still the same, and may the crop rest? (spec pipeline.md section 5)"""

from __future__ import annotations

import numpy as np

from core.utils.crop import Square

# A tracked face is believed when its side is within these factors of the one before and its centre moved less than
# this many sides.
GROWTH = (0.7, 1.4)
MAX_SHIFT = 0.5

# Differences between the wanted and the present crop, in crop sides (position, log size) and radians.
LEAVE = np.array([0.035, 0.035, 0.05, np.radians(5)])  # from which the crop sets out
ARRIVE = 0.15  # share of LEAVE at which it comes to rest again
JUMP = 0.4  # crop sides from which it is another shot, and the crop is there at once
PACE = 0.12  # of the difference, per frame


def is_same_face(landmarks: np.ndarray, previous: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether landmarks (n, 2) can be the `previous` ones a frame later; `size` is the frame's (width, height)."""
    if not np.isfinite(landmarks).all():
        return False
    (centre, side), (old_centre, old_side) = _extent(landmarks), _extent(previous)
    inside = bool((centre > 0).all() and (centre < np.array(size)).all())
    steady = GROWTH[0] * old_side <= side <= GROWTH[1] * old_side
    return inside and steady and float(np.linalg.norm(centre - old_centre)) <= MAX_SHIFT * old_side


class SteadySquare:
    """A crop that rests while the face moves a little, and glides after it when it moves more."""

    def __init__(self) -> None:
        self._state: np.ndarray | None = None  # x, y, log side, angle
        self._moving = False

    def __call__(self, wanted: Square) -> Square:
        """The crop for a frame whose own would be `wanted`."""
        target = np.array([*wanted.centre, np.log(wanted.side), wanted.angle])
        if self._state is None:
            self._state = target
        off = target - self._state
        off[3] = np.angle(np.exp(1j * off[3]))
        relative = off / np.array([wanted.side, wanted.side, 1, 1])
        if np.abs(relative[:3]).max() > JUMP:
            self._state, self._moving = target, False
            return wanted
        distance = float((np.abs(relative) / LEAVE).max())
        self._moving = distance > (ARRIVE if self._moving else 1)
        if self._moving:
            self._state = self._state + PACE * off
        x, y, log_side, angle = self._state
        return Square(np.array([x, y]), float(np.exp(log_side)), float(angle))


def _extent(landmarks: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (2,) and longer side of the landmarks' bounds."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return (low + high) / 2, float((high - low).max())
