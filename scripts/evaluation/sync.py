"""Sound against picture: the lips that the speech asks for, against those that are seen.

The lips come from the embedded pack's own audio-to-motion model, which was fitted to real people; the shift at which
seen and expected lips agree best is the offset of the sound track (the idea of SyncNet, Chung and Zisserman 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.atomic_components.condition_handler import parse_emotion
from core.interfaces import Models
from core.lite.motion_space import LOWER_LIP, UPPER_LIP
from core.media import read_audio
from core.motion import EXP, FPS, MOTION_DIM, NUM_KEYPOINTS, SAMPLES_PER_FRAME

from .signals import best_lag, lag_curve

_HOP = 48  # frames of a window that are kept; its ends see too little
_NEUTRAL = 4


@dataclass(frozen=True)
class Sync:
    """`offset` in seconds, positive when the sound comes late; `confidence`: best correlation over the median one."""

    offset: float
    confidence: float
    correlation: float


def frame_rms(samples: np.ndarray) -> np.ndarray:
    """(L,) samples -> (n,) root mean square of each video frame."""
    padded = np.pad(samples, (0, -len(samples) % SAMPLES_PER_FRAME))
    return np.sqrt(np.mean(padded.reshape(-1, SAMPLES_PER_FRAME) ** 2, axis=1))


def expected_opening(samples: np.ndarray, models: Models) -> np.ndarray:
    """(L,) speech at 16 kHz -> (n,) lip opening that goes with it, in canonical units."""
    features = np.concatenate(list(models.audio.blocks(samples)))
    emotion = np.broadcast_to(parse_emotion(_NEUTRAL), (len(features), 8))
    condition = np.concatenate([features, emotion], axis=1, dtype=np.float32)
    sample = models.motion.sampler(0, 1)
    window = models.seq_frames
    edge = (window - _HOP) // 2
    padded = np.pad(condition, ((edge, window), (0, 0)), mode="edge")
    pieces = []
    for start in range(0, len(features), _HOP):
        rows = padded[start : start + window][None]
        motion = sample(np.zeros((1, MOTION_DIM), np.float32), rows, start - edge)[0]
        lips = motion[edge : edge + _HOP, EXP].reshape(-1, NUM_KEYPOINTS, 3)
        pieces.append(lips[:, LOWER_LIP, 1] - lips[:, UPPER_LIP, 1])
    return np.concatenate(pieces)[: len(features)]


def measure_sync(opening: np.ndarray, path: str | Path, models: Models) -> Sync:
    """Compare the seen lip opening (n,) with the sound track of the video. Raises InputError when it has none."""
    wanted = expected_opening(read_audio(path), models)
    lag, best = best_lag(wanted, opening)
    _, values = lag_curve(wanted, opening)
    return Sync(lag / FPS, best - float(np.median(values)), best)
