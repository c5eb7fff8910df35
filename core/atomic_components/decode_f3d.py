"""The pack's warped volume -> rendered face (spec pipeline.md 14.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from core.atomic_components.warp_f3d import WarpedFrames
from core.avatars.avatar import Frame


class DecodeF3D:
    """Renders the 512 crop."""

    def __init__(self, decode: Callable[[Any], np.ndarray]):
        """decode: volume -> (512, 512, 3) RGB, uint8 or float32 in 0..255."""
        self._decode = decode

    def __call__(self, frame: Frame) -> Frame:
        """Replace `volume` by `face`."""
        return replace(frame, volume=None, face=self._decode(frame.volume))


class DecodeBatchF3D:
    """Renders the 512 crops of frames that were warped together."""

    def __init__(self, decode: Callable[[Any], Iterable[np.ndarray]]):
        """decode: volume of B frames -> B pictures as in `DecodeF3D`."""
        self._decode = decode

    def __call__(self, group: WarpedFrames) -> Iterator[Frame]:
        """The frames one by one, each with its `face`."""
        for frame, face in zip(group.frames, self._decode(group.volume), strict=True):
            yield replace(frame, face=face)
