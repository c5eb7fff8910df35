"""Lid opening and gaze from the 478 face landmarks (spec pipeline.md 5.8)."""

from __future__ import annotations

import numpy as np

_OUTER, _INNER = [33, 263], [133, 362]  # left, right
_LOWER = [[145, 144, 153], [374, 373, 380]]
_UPPER = [[159, 160, 158], [386, 387, 385]]
_IRIS = [468, 473]
_TINY = 1e-8


def eye_state(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the motion model wants to know about the eyes.

    Args:
        landmarks: (478, 3), x and y over the crop's side, z in the same unit.

    Returns:
        eye_open (2,) float32, summed lid distances over eye width, left and right;
        eye_ball (6,) float32, iris offsets in the order [Lx, Rx, Ly, Ry, Lz, Rz].
    """
    outer, inner = landmarks[_OUTER], landmarks[_INNER]
    lids = np.linalg.norm(landmarks[_UPPER] - landmarks[_LOWER], axis=-1).sum(axis=1)
    across = outer - inner
    width = np.linalg.norm(across, axis=1, keepdims=True)
    to_iris = landmarks[_IRIS] - (outer + inner) / 2
    distance = np.linalg.norm(to_iris, axis=1, keepdims=True)
    move = (to_iris / (distance + _TINY) - across / (width + _TINY)) * distance
    eye_open = lids / (width[:, 0] + _TINY)
    return eye_open.astype(np.float32), move.T.reshape(-1).astype(np.float32)
