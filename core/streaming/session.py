"""A live session: speech goes in as it arrives, finished frames come out with their times. Many may run at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from core.avatars.avatar import Frame
from core.errors import OutputError, StageError
from core.motion import FPS, num_frames
from core.pipeline import Cancelled, Pipeline, Stage, StageTiming
from core.runs.plan import RunPlan
from core.streaming.pace import Pace
from core.utils.audio_chunks import as_samples
from core.utils.blas import BlasLimit

QUEUE_SIZE = 4  # pieces of audio, or frames, that may wait before each stage
_CHUNKS = "chunks"


@dataclass(frozen=True)
class VideoFrame:
    """A finished frame.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        seconds: when it is to be shown, counted from the first sample of the speech.
        index: its number, from 0 and without gaps.
        heard: samples that had to arrive before it could be made.
    """

    image: np.ndarray
    seconds: float
    index: int
    heard: int


class LiveSession:
    """One conversation. Iterating gives the frames; the sessions of an SDK share its models and nothing else.

    push() and the iteration belong in different threads, since push() waits while the frames are not taken. As a
    context manager it closes on exit.
    """

    def __init__(
        self, plan: RunPlan, blas: BlasLimit, chunks: Iterable[Any] | None = None, queue_size: int = QUEUE_SIZE
    ):
        """Start the stages of `plan`, which must be online; `chunks` takes the place of push() and finish()."""
        self._plan, self._blas, self._sent = plan, blas, 0
        self._pace: Pace | None = None
        *hearing, stitch = plan.hearing(), *plan.frames()
        stitch = replace(stitch, function=partial(self._in_time, stitch.function))
        stages = [*hearing, stitch, *plan.pictures(), Stage("deliver", _finished)]
        if chunks is not None:
            stages.insert(0, Stage(_CHUNKS, self._samples_of))
        self._pipeline = Pipeline(stages, queue_size, keep_output=True)
        self._open = True
        self._blas.enter()
        self._pipeline.start()
        if chunks is not None:
            self._pipeline.put(chunks)
            self._pipeline.end()

    @property
    def timings(self) -> dict[str, StageTiming]:
        """What each stage has done so far."""
        return self._pipeline.timings

    @property
    def samples(self) -> int:
        """Samples taken in so far."""
        return self._sent

    @property
    def failed(self) -> bool:
        """Whether a stage has raised; push() and the iteration raise it."""
        return self._pipeline.error is not None

    def push(self, samples: np.ndarray, timeout: float | None = None) -> None:
        """More speech, (m,) 16 kHz mono of any length, float in -1 .. 1 or int16.

        Waits while the stages are busy. Raises InputError for other arrays, what a stage raised as soon as it has,
        TimeoutError after `timeout` seconds without room, Cancelled after close().
        """
        self._pipeline.check()
        if not self._open:
            raise Cancelled("the live session is closed")
        samples = as_samples(samples)
        if len(samples):
            self._pipeline.put(samples, timeout)
            self._sent += len(samples)

    def rest_until(self, index: int) -> None:
        """The speech up to frame `index` is not wanted any more: the lips ease to rest and stay there until then."""
        self._plan.rest_until(index)

    def keep_pace(self) -> Pace:
        """From here on frames are stitched, and come out, at the ticks of the pace that is returned."""
        self._pace = Pace()
        return self._pace

    def finish(self) -> None:
        """The speech is over: what is owed, a frame per started 40 ms of speech, comes out and the iteration ends."""
        if self._pace is not None:
            self._pace.give_up()
        self._pipeline.end()

    def get(self, timeout: float | None = None) -> VideoFrame:
        """The next frame. Raises StopIteration at the end, TimeoutError, or what a stage raised."""
        try:
            return self._pipeline.get(timeout)
        except StopIteration:
            self._check_end()
            self.close()
            raise
        except StageError as error:
            self.close()
            if error.stage == _CHUNKS:
                raise error.__cause__ from None  # the producer's own, as in an ordinary loop
            raise
        except TimeoutError:
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop at once, whatever is under way; returns within a second or two and leaves no thread. May be repeated."""
        if self._open:
            self._open = False
            if self._pace is not None:
                self._pace.give_up()
            try:
                self._pipeline.cancel()
            finally:
                self._blas.leave()

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        return self.get()

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _in_time(self, stitch: Callable[[Frame], Frame], frame: Frame) -> Frame:
        if self._pace is not None:
            self._pace.wait(frame)
        return stitch(frame)

    def _samples_of(self, chunks: Iterable[Any]) -> Iterator[np.ndarray]:
        """The producer's chunks as they come; runs in a stage's thread."""
        for chunk in chunks:
            samples = as_samples(chunk)
            if len(samples):
                self._sent += len(samples)
                yield samples

    def _check_end(self) -> None:
        """Every started 40 ms of speech has become a frame, or this is a fault of ours."""
        wanted, made, limit = num_frames(self._sent), self._plan.motion.made, self._plan.motion.limit
        wanted = wanted if limit is None else min(wanted, limit)
        if not self._pipeline.cancelled and made != wanted:
            raise OutputError(f"the live session made {made} frames for {wanted} frames of speech")


def _finished(frame: Frame) -> VideoFrame:
    return VideoFrame(frame.image, frame.index / FPS, frame.index, frame.heard)
