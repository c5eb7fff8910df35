"""Keypoints -> the pack's warped volume (spec pipeline.md 14.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from core.avatar import Avatar, Frame


class WarpF3D:
    """Warps the appearance of an avatar's frames."""

    def __init__(self, warp: Callable[[Any, np.ndarray, np.ndarray], Any], avatar: Avatar):
        """warp: (feature of a source frame, x_s, x_d), keypoints (1, 21, 3) -> volume."""
        self._warp, self._avatar = warp, avatar

    def __call__(self, frame: Frame) -> Frame:
        """Replace `x_s` and `x_d` by `volume`."""
        volume = self._warp(self._avatar.features[frame.source], frame.x_s, frame.x_d)
        return replace(frame, x_s=None, x_d=None, volume=volume)
