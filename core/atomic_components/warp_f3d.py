"""Keypoints -> the pack's warped volume (spec pipeline.md 14.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.avatars.avatar import Avatar, Frame


class WarpF3D:
    """Warps the appearance of an avatar's frames."""

    def __init__(self, warp: Callable[[Any, np.ndarray, np.ndarray], Any], avatar: Avatar):
        """warp: (feature of a source frame, x_s, x_d), keypoints (1, 21, 3) -> volume."""
        self._warp, self._avatar = warp, avatar

    def __call__(self, frame: Frame) -> Frame:
        """Replace `x_s` and `x_d` by `volume`."""
        volume = self._warp(self._avatar.features[frame.source], frame.x_s, frame.x_d)
        return replace(frame, x_s=None, x_d=None, volume=volume)


@dataclass(frozen=True)
class WarpedFrames:
    """Consecutive frames that were warped together.

    Attributes:
        frames: without keypoints.
        volume: what the pack's decode takes for all of them.
    """

    frames: tuple[Frame, ...]
    volume: Any

    def __len__(self) -> int:
        return len(self.frames)


class WarpBatchF3D:
    """Warps several frames in one call."""

    def __init__(self, warp: Callable[[Sequence[Any], np.ndarray, np.ndarray], Any], avatar: Avatar):
        """warp: (features of B source frames, x_s, x_d), keypoints (B, 21, 3) -> volume of all."""
        self._warp, self._avatar = warp, avatar

    def __call__(self, frames: list[Frame]) -> WarpedFrames:
        """Frames with `x_s` and `x_d`, any number from 1."""
        features = [self._avatar.features[frame.source] for frame in frames]
        x_s, x_d = (np.concatenate([getattr(frame, name) for frame in frames]) for name in ("x_s", "x_d"))
        bare = tuple(replace(frame, x_s=None, x_d=None) for frame in frames)
        return WarpedFrames(bare, self._warp(features, x_s, x_d))
