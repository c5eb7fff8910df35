"""The opacity of a cut-out head moves with the head (ours; the reference drops opacity)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from core.avatars.avatar import Avatar, Frame
from core.utils.crop import cut_again


class Matte:
    """Warps the opacity of an avatar's face crops as its picture is warped."""

    def __init__(self, move: Callable[[Any, np.ndarray], np.ndarray], avatar: Avatar):
        """move: (what the pack's warp returned, (512, 512) uint8) -> (512, 512) uint8."""
        self._move, self._avatar = move, avatar

    def __call__(self, frame: Frame) -> Frame:
        """Add `matte` to a frame with a `volume`."""
        alpha = self._avatar.alpha[frame.source]
        crop = cut_again(alpha, self._avatar.M_c2o[frame.source], cv2.BORDER_REPLICATE)
        return replace(frame, matte=self._move(frame.volume, crop))
