"""The stage that turns speech features into numbered frames with motion (spec pipeline.md 11, 12).

`OfflineMotion` runs the motion model over the windows of a whole clip, `OnlineMotion` over whatever has arrived;
`WindowFuser` joins the windows of both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from core.atomic_components.condition_handler import Character, ConditionHandler
from core.atomic_components.speech import Speech
from core.atomic_components.window_fuser import Joint, WindowFuser
from core.avatars.avatar import Avatar, Frame
from core.errors import InputError
from core.interfaces import Sampler
from core.motion import POSE, SEQ_FRAMES, Motion, smooth
from core.settings.options import MotionOptions


def _filled(rows: np.ndarray, n: int) -> np.ndarray:
    """(m, C) with m <= n -> (n, C): the last row is repeated."""
    return np.concatenate([rows, np.repeat(rows[-1:], n - len(rows), axis=0)]) if len(rows) < n else rows


def first_step(options: MotionOptions, window: int = SEQ_FRAMES) -> int:
    """New frames of the first window of a live run. Raises InputError when it does not fit the others."""
    step = window - options.overlap_v2
    if not 0 <= options.first_chunk <= step:
        raise InputError(
            f"first_chunk is {options.first_chunk}; it must be 0 (as the others) .. {step} (frames of a regular step)"
        )
    return options.first_chunk or step


def warmup_rows(options: MotionOptions, window: int = SEQ_FRAMES, ahead: int = 0) -> int:
    """Frames of silence that come before a live stream: all of the first window but its new frames and its outlook."""
    return window - first_step(options, window) - ahead


class OfflineMotion:
    """The features of a whole clip, in blocks of any size (spec 11). Memory does not grow with the clip."""

    def __init__(
        self,
        sampler: Sampler,
        conditions: ConditionHandler,
        character: Character,
        options: MotionOptions,
        window: int = SEQ_FRAMES,
    ):
        self._conditions = conditions
        self._fuser = WindowFuser(sampler, character, options, window, online=False)
        self._smo_k_d = options.smo_k_d
        self._pending: np.ndarray | None = None  # features from the start of the next window on
        self._start = 0  # frame of the clip at which the next window starts
        self._next = 0  # index in the history of the next frame to come out
        self._owed = 0  # frames fed and not yet come out

    def push(self, audio: np.ndarray, outlook: np.ndarray | None = None) -> Iterator[Motion]:
        """Features (n, D) -> motion that has become final, in order, possibly none; an outlook is of no use here."""
        self._pending = audio if self._pending is None else np.concatenate([self._pending, audio])
        self._owed += len(audio)
        while len(self._pending) >= self._fuser.window:
            self._advance()
            yield from self._release(len(self._fuser.history) - self._fuser.overlap - self._smo_k_d // 2)

    def finish(self) -> Iterator[Motion]:
        """End of the clip -> the motion still owed, exactly one frame per feature. InputError when there were none."""
        if self._pending is None or not self._start + len(self._pending):
            raise InputError("the audio is empty: there is nothing to speak")
        while len(self._pending):
            self._advance()
        self._fuser.trim(self._next + self._owed)
        yield from self._release(self._next + self._owed)

    def _advance(self) -> None:
        fuser = self._fuser
        rows = self._conditions(self._pending[: fuser.window], self._start)
        fuser.add(_filled(rows, fuser.window), self._start)
        self._pending = self._pending[fuser.step :]
        self._start += fuser.step

    def _release(self, end: int) -> Iterator[Motion]:
        """Smooth the frames up to `end` of the history once more and let them out."""
        first, half = self._next, self._smo_k_d // 2
        if end <= first:
            return
        low = max(0, first - half)
        frames = self._fuser.history[low : end + half].copy()
        frames[:, POSE] = smooth(frames[:, POSE], self._smo_k_d, first - low, end - low)
        self._owed -= end - first
        self._next = min(end, half)
        self._fuser.drop_front(end - self._next)
        yield Motion(self._fuser.finished(frames[first - low : end - low]))


class OnlineMotion:
    """Features as they arrive, motion as soon as it is final (spec 12, with the tail and overlap mends of 12.4).

    Attributes:
        limit: frames of motion wanted; None: as many as features come in. May be set until the end of the stream.
    """

    def __init__(
        self,
        sampler: Sampler,
        conditions: ConditionHandler,
        character: Character,
        options: MotionOptions,
        warmup: np.ndarray | None,
        on_reference: Callable[[Motion], None] | None = None,
        limit: int | None = None,
        window: int = SEQ_FRAMES,
        block: int = 1,
        ahead: int = 0,
    ):
        """Prepare for one stream.

        Args:
            warmup: (`warmup_rows`, D) features of silence put before the stream; None: no warm-up, as the reference's
                streaming pipeline with online_mode off.
            on_reference: gets the frame that relative motion refers to, before any frame comes out (only with warm-up).
            block: features that come at a time; after a small first window the second takes the next block, so that
                later ones wait for nothing.
            ahead: rows of the outlook that comes with features; the model sees them as the end of its windows.
        """
        self._fuser = WindowFuser(sampler, character, options, window, warmup is not None, ahead)
        if warmup is not None and len(warmup) != (needed := warmup_rows(options, window, ahead)):
            raise InputError(f"the online warm-up has {len(warmup)} feature rows; it takes {needed}")
        self.limit = limit
        self._conditions = conditions
        self._warm = warmup is not None
        self._on_reference = on_reference if self._warm else None
        self._pending = warmup  # features from the start of the next window on
        self._outlook: np.ndarray | None = None  # what is known of the rows after them
        self._start = 0 if warmup is None else -len(warmup)  # absolute frame of the next window
        self._next = -self._start  # index in the history of the next frame to come out
        # new features of the windows to come; the last entry stays
        self._steps = [self._fuser.step]
        if self._warm and options.first_chunk:
            first = first_step(options, window)
            self._steps = [first, min(max(first, block), self._fuser.step), self._fuser.step]
        self._fed = 0
        self._emitted = 0

    def push(self, audio: np.ndarray, outlook: np.ndarray | None = None) -> Iterator[Motion]:
        """Features (n, D), and rows that may follow -> motion that has become final, in order, possibly none."""
        self._pending = audio if self._pending is None else np.concatenate([self._pending, audio])
        self._outlook = outlook
        self._fed += len(audio)
        while len(self._pending) >= self._fuser.window:
            held = self._advance()
            yield from self._emit(len(self._fuser.history) - held - self._next)

    def finish(self) -> Iterator[Motion]:
        """End of the stream -> the motion still owed: exactly one frame per feature, or up to `limit`."""
        owed = self._fed - self._emitted
        if self.limit is not None:
            owed = min(owed, self.limit - self._emitted)
        if owed > 0 and len(self._pending):
            self._advance()
        while owed > max(0, len(self._fuser.history) - self._next):
            self._advance()
        yield from self._emit(owed)

    def _advance(self) -> int:
        """Run the next window, filled up at the end of the stream, and forget what is no longer needed.

        Returns the number of frames at the end of the history that the next joint may still change.
        """
        fuser = self._fuser
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        following = self._steps[0]
        known = self._pending if self._outlook is None else np.concatenate([self._pending, self._outlook])
        features = _filled(known[: fuser.rows], fuser.rows)
        fuse = min(fuser.fuse, len(fuser.history) - self._next)
        fuser.add(self._conditions(features, self._start), self._start, Joint(step, fuse), following)
        self._pending = self._pending[following:]
        self._start += following
        if self._on_reference is not None:
            self._on_reference(Motion(fuser.finished(fuser.history[:1])))
            self._on_reference = None
        surplus = min(len(fuser.history) - 2 * fuser.window, self._next)
        if surplus > 0:
            fuser.drop_front(surplus)
            self._next -= surplus
        return min(fuser.fuse, step) if self._warm else fuser.fuse

    def _emit(self, count: int) -> Iterator[Motion]:
        if self.limit is not None:
            count = min(count, self.limit - self._emitted)
        if count > 0:
            frames = self._fuser.history[self._next : self._next + count]
            self._next += count
            self._emitted += count
            yield Motion(self._fuser.finished(frames))


class Audio2Motion:
    """The stage: features in, numbered frames out.

    Attributes:
        fed: rows of features taken in. made: frames given out. limit: frames wanted at most; None: one per row.
    """

    def __init__(self, worker: OfflineMotion | OnlineMotion, avatar: Avatar):
        self._worker, self._avatar = worker, avatar
        self.fed = self.made = 0
        self.limit: int | None = None
        self._heard = 0
        self._voice: deque[float] = deque()  # of the rows that have not become frames yet

    def __call__(self, speech: Speech) -> Iterator[Frame]:
        """Features -> frames whose motion has become final."""
        self.fed += len(speech.features)
        self._heard = speech.heard
        voice = np.ones(len(speech.features)) if speech.voice is None else speech.voice
        self._voice.extend(voice.tolist())
        return self._frames(self._worker.push(speech.features, speech.outlook))

    def finish(self) -> Iterator[Frame]:
        """The frames still owed."""
        return self._frames(self._worker.finish())

    def expected(self) -> int:
        """Frames that the features so far must give in the end."""
        return self.fed if self.limit is None else min(self.fed, self.limit)

    def _frames(self, motions: Iterator[Motion]) -> Iterator[Frame]:
        for motion in motions:
            for i in range(len(motion)):
                if self.limit is not None and self.made >= self.limit:
                    return
                source = self._avatar.source_at(self.made)
                yield Frame(self.made, source, motion[i], heard=self._heard, voice=self._voice.popleft())
                self.made += 1
