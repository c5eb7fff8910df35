"""Emotion scores of a clip: a classifier at 5 frames per second, filled up over time (spec training.md 4.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from core.errors import InputError
from core.motion import FPS

EVERY = max(FPS // 5, 1)  # frames from one sample to the next
LEAST_SHARE = 0.6  # of the frames that must be within reach of a sample
# Network: Anger, Contempt, Disgust, Fear, Happiness, Neutral, Sadness, Surprise.
# Saved: Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise, Contempt.
SAVED_FROM_NETWORK = (0, 2, 3, 4, 5, 6, 7, 1)


def clip_scores(
    frames: Iterable[np.ndarray], boxes: np.ndarray, classify: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Scores (n, 8) float32 in the saved order.

    Args:
        frames: n pictures, (H, W, 3) uint8 RGB.
        boxes: (n, 4) x0, y0, x1, y1 of the face in each.
        classify: face picture -> (8,) scores in the saved order.

    Raises InputError when fewer than 60 % of the samples show a face.
    """
    known, rows, count = [], [], 0
    for index, frame in enumerate(frames):
        count += 1
        if index % EVERY == 0 and index < len(boxes):
            face = cut_face(frame, boxes[index])
            if face.size:
                known.append(index)
                rows.append(classify(face))
    check_share(len(known), count)
    return interpolate(known, np.array(rows), count)


def cut_face(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of a frame inside `box` (4,), numbers cut to integers and clamped to the picture; may be empty."""
    x0, y0, x1, y1 = (max(int(value), 0) for value in box)
    return frame[y0:y1, x0:x1]


def saved_order(network: np.ndarray) -> np.ndarray:
    """Scores (..., 8) of an 8-class network -> the order in which they are saved."""
    return network[..., list(SAVED_FROM_NETWORK)]


def check_share(known: int, frames: int) -> None:
    """Raise InputError when the `known` samples stand for less than 60 % of the frames."""
    if known * EVERY < LEAST_SHARE * frames:
        raise InputError(f"emotion: only {known} samples show a face in {frames} frames")


def interpolate(known: Sequence[int], scores: np.ndarray, frames: int) -> np.ndarray:
    """Scores (k, 8) at frames `known` -> (frames, 8) float32: linear in between, the nearest at the ends.

    Raises InputError when there are none or one lies outside.
    """
    if not len(known) or max(known) >= frames:
        raise InputError(f"emotion: samples at frames {list(known)} do not fit {frames} frames")
    at = np.arange(frames)
    return np.stack([np.interp(at, known, column) for column in np.asarray(scores).T], axis=1).astype(np.float32)
