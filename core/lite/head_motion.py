"""Natural head motion and blinks: smooth noise that depends only on the seed and the absolute frame number."""

from __future__ import annotations

import math
import random

import numpy as np

from core.lite.motion_space import BLINK_PROFILE
from core.motion import FPS

# Spread of the head's angles (pitch, yaw, roll) in degrees and of the waves' frequencies in cycles per frame, in three
# bands: drift, turns and nods, and the quick motion that goes with speech. Together they give 0.1 to 4 Hz between the
# lower quartile and the median of 35 real speakers; what trackers see above that is mostly their own noise.
SPREAD = np.array([[1.6, 2.1, 1.4], [1.3, 1.6, 1.0], [0.6, 0.6, 0.3]])
SPEED = np.array([0.011, 0.03, 0.08])
STEADY = 1  # bands that go on at full size while nobody speaks
WAVES = 24
EASE_IN = FPS  # frames until the motion has its full size
NECK = np.array([[0.0, 0.55], [-0.7, 0.0], [1.0, 0.0]])  # x, y in eye distances per radian of each angle: a neck turns
BREATH = 0.25 / FPS  # cycles per frame
BREATH_PITCH, BREATH_Y = 0.25, 0.006  # degrees, eye distances

FIRST_BLINK = (20, 49)  # frames
BLINK_GAP = (45, 130)
TYPICAL_GAP = 72


class HeadMotion:
    """Offsets of a head's pose from its place in the source picture, for one seed."""

    def __init__(self, seed: int):
        rng = np.random.default_rng([seed, 1])
        size = (WAVES, *SPREAD.shape)
        self._frequency = np.abs(rng.normal(0, np.broadcast_to(SPEED[:, None], size)))
        self._phase = rng.uniform(0, 2 * np.pi, size)
        self._breath_phase = rng.uniform(0, 2 * np.pi)

    def __call__(self, frames: np.ndarray, lively: np.ndarray | None = None) -> np.ndarray:
        """Absolute frame numbers (n,) -> (n, 5): pitch, yaw, roll in degrees, x and y in eye distances.

        Zero at frame 0 and before it, of full size from one second on. `lively` (n,) in 0..1 scales all but the drift.
        """
        waves = np.cos(2 * np.pi * self._frequency * frames[:, None, None, None] + self._phase)
        bands = waves.sum(axis=1) * np.sqrt(2 / WAVES) * SPREAD
        if lively is not None:
            bands[:, STEADY:] *= lively[:, None, None]
        angles = bands.sum(axis=1)
        breath = np.sin(2 * np.pi * BREATH * frames + self._breath_phase)
        angles[:, 0] += BREATH_PITCH * breath
        shift = np.radians(angles) @ NECK
        shift[:, 1] += BREATH_Y * breath
        x = np.clip(frames / EASE_IN, 0, 1)
        return np.concatenate([angles, shift], axis=1) * (x * x * (3 - 2 * x))[:, None]


def blink_intervals(rng: random.Random, n: int) -> list[int]:
    """Blink spacing for `n` frames in the list form of spec pipeline.md 13.5.

    The first number is the first blink's frame, the last one the margin that keeps the last blink whole, and those
    between are the open frames from one blink to the next; 12 to 22 blinks per minute.
    """
    low, high = BLINK_GAP
    count = n // (low + len(BLINK_PROFILE)) + 2
    gaps = (rng.lognormvariate(math.log(TYPICAL_GAP), 0.3) for _ in range(count))
    return [rng.randint(*FIRST_BLINK), *(int(min(max(gap, low), high)) for gap in gaps), len(BLINK_PROFILE)]
