"""Frames of speech, 25 per second -> frames of the result at another rate (ours; the reference knows 25 only)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from core.avatars.avatar import Avatar, Frame
from core.motion import FPS, MotionSpace, transform_keypoints


class Retime:
    """Interpolates how far the face is from its source between neighbouring frames. For frames in order."""

    def __init__(self, avatar: Avatar, space: MotionSpace):
        """The avatar's `rate` is that of the result."""
        self._avatar, self._exp_canonical = avatar, space.exp_canonical
        self._last: Frame | None = None
        self._made = 0

    def __call__(self, frame: Frame) -> Iterator[Frame]:
        """A stitched frame of speech -> the frames of the result up to it, none or several."""
        before, self._last = self._last or frame, frame
        owed = self._avatar.frames_for(frame.index + 1)
        while self._made < owed and self._moment() <= frame.index:
            share = 1.0 if before is frame else self._moment() - before.index
            yield self._between(before, frame, share)

    def finish(self) -> Iterator[Frame]:
        """The frames during the last frame of speech."""
        while self._last is not None and self._made < self._avatar.frames_for(self._last.index + 1):
            yield self._between(self._last, self._last, 1.0)

    def _moment(self) -> float:
        """Where in the speech the next frame is, in frames of speech."""
        return float(self._made * FPS / self._avatar.rate)

    def _between(self, before: Frame, after: Frame, share: float) -> Frame:
        source = self._avatar.source_index(self._made)
        x_s = transform_keypoints(self._avatar.motion[source], exp_canonical=self._exp_canonical)
        change = (1 - share) * (before.x_d - before.x_s) + share * (after.x_d - after.x_s)
        frame = replace(after, index=self._made, source=source, x_s=x_s, x_d=(x_s + change).astype(np.float32))
        self._made += 1
        return frame
