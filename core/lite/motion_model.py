"""Audio to motion of the embedded pack: lips from speech features, head from seeded noise (spec lite.md 5 and 9)."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

import numpy as np

from core.backends.onnx import load_session
from core.lite.head_motion import HeadMotion, blink_intervals
from core.lite.lip_shape import shape_lips, smooth_frames, speech_gate
from core.lite.motion_space import FaceSpace
from core.motion import (
    EXP,
    MOTION_DIM,
    NUM_KEYPOINTS,
    PITCH,
    ROLL,
    SCALE,
    TRANSLATION,
    YAW,
    bins_to_degrees,
    degrees_to_bins,
)

__all__ = ["MotionModel", "blink_intervals"]

WINDOW = 80  # frames of one call
AUDIO_DIM = 385
ENERGY = AUDIO_DIM - 1
EMOTION = slice(AUDIO_DIM, AUDIO_DIM + 8)
COND_DIM = EMOTION.stop
CLOSED, LIP_TEETH, SPEECH = 0, 1, 3  # columns of the network's `events`; 2 (lips rounded) is not needed here
NOD = 1.2  # degrees of pitch per nat of smoothed loudness above its slow mean
NOD_FAST, NOD_SLOW = 2.0, 4.0  # frames
QUIET_LIFE = 0.3  # part of the quick head motion that stays while nobody speaks


class MotionModel:
    """Predicts motion windows. Deterministic: the same inputs, seed and start give the same motion."""

    window = WINDOW

    def __init__(self, path: str | PathLike[str], space: FaceSpace, threads: int = 1):
        """Load audio2motion.onnx; raises PackError when it is missing, damaged or another model."""
        self._session = load_session(path, threads).require(("features",), ("exp", "events"))
        self._mode = space.modes[0]

    def sampler(
        self, seed: int, steps: int = 1, method: str = "ddim"
    ) -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
        """A function (cond_frame (1, 265), cond (1, 80, 393), start) -> (1, 80, 265) float32 for windows of 80 frames.

        `start` is the absolute number of the window's first frame, negative during a warm-up. The pose is that of
        `cond_frame` plus the head motion of `seed`; the expression is absolute (0 = lips closed). `steps` and
        `method` are taken for the sake of the diffusion models' interface and have no effect.
        """
        head = HeadMotion(seed)

        def sample(cond_frame: np.ndarray, cond: np.ndarray, start: int) -> np.ndarray:
            if cond.ndim != 3 or cond.shape[:2] != (1, WINDOW) or cond.shape[2] < COND_DIM:
                raise ValueError(f"condition must be (1, {WINDOW}, {COND_DIM}) or wider, got {cond.shape}")
            exp, gate = self._lips(cond[0])
            lively = QUIET_LIFE + (1 - QUIET_LIFE) * smooth_frames(gate[:, None], NOD_SLOW)[:, 0]
            pose = head(np.arange(start, start + WINDOW), lively)
            pose[:, 0] += nod(cond[0, :, ENERGY], gate)
            return _motion(cond_frame, pose, exp)[None]

        return sample

    def _lips(self, cond: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = np.ascontiguousarray(cond[None, :, :AUDIO_DIM], np.float32)
        out = self._session.run(features=features)
        exp, events = out["exp"][0].reshape(-1, NUM_KEYPOINTS, 3), out["events"][0]
        gate = speech_gate(events[:, SPEECH], features[0, :, ENERGY])
        exp = shape_lips(exp, events[:, CLOSED], events[:, LIP_TEETH], gate, cond[:, EMOTION], self._mode)
        return exp, gate


def nod(energy: np.ndarray, gate: np.ndarray) -> np.ndarray:
    """(n,) degrees of pitch that follow the stress of speech."""
    energy = np.maximum(energy, -6.0)[:, None]
    stress = (smooth_frames(energy, NOD_FAST) - smooth_frames(energy, NOD_SLOW))[:, 0]
    return NOD * smooth_frames((np.tanh(stress) * gate)[:, None], NOD_FAST)[:, 0]


def _motion(cond_frame: np.ndarray, pose: np.ndarray, exp: np.ndarray) -> np.ndarray:
    """Absolute motion (n, 265) from a start frame (1, 265), pose offsets (n, 5) and expression (n, 21, 3)."""
    out = np.repeat(np.asarray(cond_frame, np.float32).reshape(1, MOTION_DIM), len(pose), axis=0)
    for column, part in enumerate((PITCH, YAW, ROLL)):
        out[:, part] = degrees_to_bins(bins_to_degrees(out[:, part]) + pose[:, column])
    out[:, TRANSLATION.start : TRANSLATION.start + 2] += (out[:, SCALE] + 1) * pose[:, 3:5]
    out[:, EXP] = exp.reshape(len(exp), -1)
    return out
