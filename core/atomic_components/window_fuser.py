"""Overlapping windows of the motion model, joined by cross-fading into one motion (spec pipeline.md 10)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.atomic_components.condition_handler import Character
from core.errors import InputError
from core.interfaces import Sampler
from core.motion import MOTION_DIM, POSE, smooth
from core.settings.options import MotionOptions


class Joint(NamedTuple):
    """How a window is joined to those before it: its new frames, and the frames that are cross-faded."""

    step: int
    fuse: int


class WindowFuser:
    """Runs windows one after the other and keeps the joined motion.

    Attributes:
        window: S, frames per window. overlap: O, frames shared with the window before. step: V = S - O, new frames.
        rows: condition rows of a window, which go `ahead` frames beyond those that are kept.
        fuse: F, frames cross-faded at a joint; the last F frames of `history` may still change.
    """

    def __init__(
        self, sampler: Sampler, character: Character, options: MotionOptions, window: int, online: bool, ahead: int = 0
    ):
        """Windows that know what comes after them agree where they meet, so with `ahead` nothing is cross-faded."""
        overlap = options.overlap_v2
        if not 0 <= overlap < window:
            raise InputError(f"overlap_v2 is {overlap}; it must be 0 .. {window - 1} for windows of {window} frames")
        self.rows, self.window, self.overlap, self.step = window, window - ahead, overlap - ahead, window - overlap
        self.fuse = 0 if ahead else min(overlap, self.step) if online else overlap
        self._sampler = sampler
        self._options = options
        self._start = character.start.astype(np.float32)
        self._carried = self._start
        self._steps = 0
        self._buffer = np.empty((4 * window, MOTION_DIM), np.float32)
        self._length = 0

    @property
    def history(self) -> np.ndarray:
        """(N, 265) float32 motion so far, a view that the next call may invalidate."""
        return self._buffer[: self._length]

    def add(self, cond: np.ndarray, start: int, joint: Joint | None = None, following: int | None = None) -> None:
        """Run one window.

        Args:
            cond: (rows, C) condition rows of frames start ...
            joint: new frames and cross-fade where they are not the usual ones.
            following: new frames of the window after this one; None: the usual number.
        """
        predicted = self._sampler(self._carried[None], cond[None], start)[0][: self.window]
        if self._steps == 0:
            self._append(predicted)
            self._smooth(0, self._length)
        else:
            self._join(predicted, joint or Joint(self.step, self.fuse))
        self._steps += 1
        self._carry(self.window - (following or self.step))

    def drop_front(self, frames: int) -> None:
        """Forget the first frames of the history."""
        kept = self.history[frames:].copy()
        self._length = len(kept)
        self._buffer[: self._length] = kept

    def trim(self, frames: int) -> None:
        """Keep only the first frames of the history."""
        self._length = min(self._length, frames)

    def finished(self, frames: np.ndarray) -> np.ndarray:
        """A copy of frames, (n, 265), kept inside the bounds of the configuration."""
        bounds = self._options.v_min_max_for_clip
        return frames.copy() if bounds is None else np.clip(frames, bounds[0], bounds[1]).astype(np.float32)

    def _join(self, predicted: np.ndarray, joint: Joint) -> None:
        """Cross-fade the last F frames into the new window and append its V new ones (spec 10.2)."""
        overlap, fuse = self.window - joint.step, joint.fuse
        if fuse:
            weight = (np.arange(fuse, dtype=np.float32) / fuse)[:, None]
            tail = self.history[-fuse:]
            tail[:] = (1 - weight) * tail + weight * predicted[overlap - fuse : overlap]
        self._append(predicted[overlap:])
        border = self._length - joint.step
        self._smooth(border - fuse, border + 1)

    def _append(self, frames: np.ndarray) -> None:
        needed = self._length + len(frames)
        if needed > len(self._buffer):
            bigger = np.empty((2 * needed, MOTION_DIM), np.float32)
            bigger[: self._length] = self.history
            self._buffer = bigger
        self._buffer[self._length : needed] = frames
        self._length = needed

    def _smooth(self, first: int, end: int) -> None:
        """Moving average of scale, pose and translation in frames first .. end - 1; never of the expression."""
        half = self._options.smo_k_d // 2
        low, high = max(0, first - half), min(self._length, end + half)
        near = self.history[low:high, POSE]
        inner = slice(first - low, end - low)
        near[inner] = smooth(near, self._options.smo_k_d, inner.start, inner.stop)[inner]

    def _carry(self, overlap: int) -> None:
        """Choose what the next window continues from (spec 10.4)."""
        period = self._options.fix_kp_cond
        last = self.history[self._length - overlap - 1].copy()
        if period > 0 and self._steps % period == 0:
            self._carried = self._start.copy()
            if self._options.fix_kp_cond_dim is not None:
                kept = slice(*self._options.fix_kp_cond_dim)
                self._carried[kept] = last[kept]
        elif period >= 0:
            self._carried = last
