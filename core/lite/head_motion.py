"""Natural head motion and blinks: smooth noise that depends only on the seed and the absolute frame number."""

from __future__ import annotations

import math
import random

import numpy as np

from core.lite.motion_space import BLINK_PROFILE
from core.motion import FPS

# Spread of the head's angles (pitch, yaw, roll) in degrees, as in tracked speakers.
ANGLE_STD = np.array([1.6, 2.5, 1.2])
SWAY_STD = 0.006  # of x and y, in half crop sides
WAVES = 24
SPEED = 0.011  # spread of the waves' frequencies in cycles per frame: white noise smoothed with a sigma of 14 frames
EASE_IN = FPS  # frames until the motion has its full size
BREATH = 0.25 / FPS  # cycles per frame
BREATH_SIZE = np.array([0.25, 0.0, 0.0, 0.0, 0.003])  # pitch in degrees .. y in half crop sides

FIRST_BLINK = (20, 50)  # frames
BLINK_GAP = (45, 130)
TYPICAL_GAP = 72


class HeadMotion:
    """Offsets of a head's pose from its place in the source picture, for one seed."""

    def __init__(self, seed: int):
        rng = np.random.default_rng([seed, 1])
        self._frequency = np.abs(rng.normal(0, SPEED, (WAVES, 5)))
        self._phase = rng.uniform(0, 2 * np.pi, (WAVES, 5))
        self._breath_phase = rng.uniform(0, 2 * np.pi)
        self._size = np.concatenate([ANGLE_STD, [SWAY_STD, SWAY_STD]])

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Absolute frame numbers (n,) -> (n, 5): pitch, yaw, roll in degrees, x and y in half crop sides.

        Zero at frame 0 and before it, of full size from one second on.
        """
        angle = 2 * np.pi * self._frequency * frames[:, None, None] + self._phase
        noise = np.cos(angle).sum(axis=1) * np.sqrt(2 / WAVES) * self._size
        breath = np.sin(2 * np.pi * BREATH * frames + self._breath_phase)[:, None] * BREATH_SIZE
        x = np.clip(frames / EASE_IN, 0, 1)
        return (noise + breath) * (x * x * (3 - 2 * x))[:, None]


def blink_intervals(rng: random.Random, n: int) -> list[int]:
    """Blink spacing for `n` frames in the list form of spec pipeline.md 13.5.

    The first number is the first blink's frame, the last one the margin that keeps the last blink whole, and those
    between are the open frames from one blink to the next; 12 to 22 blinks per minute.
    """
    low, high = BLINK_GAP
    count = n // (low + len(BLINK_PROFILE)) + 2
    gaps = (rng.lognormvariate(math.log(TYPICAL_GAP), 0.3) for _ in range(count))
    return [rng.randint(*FIRST_BLINK), *(int(min(max(gap, low), high)) for gap in gaps), len(BLINK_PROFILE)]
