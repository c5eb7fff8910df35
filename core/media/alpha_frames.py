"""The opacity that goes with the frames of a source, and colours for where nothing is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

_COARSEST = 8  # pixels


class WithAlpha(Protocol):
    """Frames that know their opacity."""

    def __len__(self) -> int: ...

    def alpha_of(self, index: int) -> np.ndarray:
        """(H, W) uint8."""


class AlphaFrames(Sequence[np.ndarray]):
    """Opacity of all frames, (H, W) uint8 each, read when it is asked for."""

    def __init__(self, frames: WithAlpha):
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._frames.alpha_of(index)


def spread_colours(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Carry the colours of what is seen over what is not, so that a moving edge shows no foreign colour.

    rgb: (H, W, 3) uint8; alpha: (H, W) uint8. From coarse to fine: each level fills what the coarser ones have guessed.
    """
    levels = [np.dstack([rgb * (alpha / 255.0)[..., None], alpha / 255.0]).astype(np.float32)]
    while min(levels[-1].shape[:2]) > _COARSEST:
        levels.append(cv2.pyrDown(levels[-1]))
    guess = levels[-1]
    for level in reversed(levels[:-1]):
        wider = cv2.resize(guess, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        guess = level + (1 - level[..., 3:]) * wider
    colours = guess[..., :3] / np.maximum(guess[..., 3:], 1e-4)
    return np.where(alpha[..., None] == 255, rgb, np.clip(np.round(colours), 0, 255).astype(np.uint8))
