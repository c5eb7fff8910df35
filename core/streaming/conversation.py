"""An avatar in real time: it idles while nobody speaks, talks when speech arrives, and stops when interrupted.

Speech and silence go through one live session as one endless sound track, block by block at the pace of the clock, so
that idling and talking are the same motion and every frame has its 40 ms of sound.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.motion import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from core.streaming.session import LiveSession
from core.utils.audio_chunks import as_samples

LOG = logging.getLogger(__name__)
MAX_WAITING = 120.0  # seconds of speech that may wait to be spoken
LATE = 3  # blocks by which the clock may be missed before it is put back


@dataclass(frozen=True)
class Moment:
    """One frame and the sound that belongs to it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        sound: (640,) float32 at 16 kHz, silence while idle.
        index: frame number from 0, without gaps. seconds: when it is to be shown, counted from the start.
        speaking: whether the sound is speech.
    """

    image: np.ndarray
    sound: np.ndarray
    index: int
    seconds: float
    speaking: bool


@dataclass
class ConversationStats:
    """underruns: blocks that the machine was too slow for; interrupts; spoken: seconds of speech so far."""

    underruns: int = 0
    interrupts: int = 0
    spoken: float = 0.0


class Conversation:
    """Feeds a live session at the pace of the clock. Iterate in one thread; speak and interrupt in any other."""

    def __init__(self, session: LiveSession, max_waiting: float = MAX_WAITING):
        """Starts at once; `session` must be fresh, and belongs to the conversation from here on."""
        self.stats = ConversationStats()
        self._session = session
        self._pace = session.keep_pace()
        self._limit = max_waiting * SAMPLE_RATE
        self._lock = threading.Lock()
        self._waiting: deque[np.ndarray] = deque()
        self._queued = 0  # samples in _waiting
        self._sounds: deque[tuple[np.ndarray, bool]] = deque()  # of blocks sent whose frames are not out
        self._sent = 0  # blocks
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._feeder = threading.Thread(target=self._feed, name="conversation", daemon=True)
        self._feeder.start()

    @property
    def waiting(self) -> float:
        """Seconds of speech that are still to be spoken."""
        return self._queued / SAMPLE_RATE

    @property
    def busy(self) -> bool:
        """Whether speech waits, or is on its way through the stages."""
        with self._lock:
            return self._queued > 0 or any(speaking for _, speaking in self._sounds)

    def say(self, samples: np.ndarray) -> None:
        """More speech, (m,) 16 kHz mono, any length and at any pace; it is spoken after what waits already.

        Raises InputError for other arrays, and when more than the limit would wait.
        """
        samples = as_samples(samples)
        with self._lock:
            if self._queued + len(samples) > self._limit:
                limit = self._limit / SAMPLE_RATE
                raise InputError(f"more than {limit:g} s of speech are waiting to be spoken; send it more slowly")
            self._waiting.append(samples)
            self._queued += len(samples)

    def interrupt(self) -> None:
        """Drop all speech that has not been heard: silence from the next frame on, the mouth eases to rest."""
        with self._lock:
            self.stats.interrupts += 1
            self._waiting.clear()
            self._queued = 0
            self._sounds = deque((np.zeros_like(sound), False) for sound, _ in self._sounds)
            until = self._sent
        self._session.rest_until(until)

    def __iter__(self) -> Iterator[Moment]:
        return self

    def __next__(self) -> Moment:
        """The next frame, when its time has come. Raises what a stage raised; ends after close()."""
        if self._stopped.is_set():
            raise StopIteration
        try:
            frame = self._session.get()
        except BaseException:
            self.close()
            if self._error is not None:
                raise self._error from None
            raise
        with self._lock:
            sound, speaking = self._sounds.popleft()
        self.stats.spoken += speaking / FPS
        return Moment(frame.image, sound, frame.index, frame.index / FPS, speaking)

    def close(self) -> None:
        """Stop everything; may be repeated and called from any thread."""
        self._stopped.set()
        self._session.close()
        if threading.current_thread() is not self._feeder:
            self._feeder.join(2.0)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _feed(self) -> None:
        """Body of the feeding thread: a block every 40 ms; when the stages are slower, the clock is put back."""
        start = time.monotonic()
        while not self._stopped.is_set():
            late = time.monotonic() - (start + self._sent / FPS)
            if late < 0 and self._stopped.wait(-late):
                return
            if late > LATE / FPS:
                self.stats.underruns += 1
                start += late
            block, speaking = self._next_block()
            try:
                self._session.push(block)
                self._pace.tick()
            except BaseException as error:
                if not self._stopped.is_set():
                    self._error = error
                    self._session.close()
                return

    def _next_block(self) -> tuple[np.ndarray, bool]:
        """The next 40 ms: speech that waits, filled up with silence."""
        block, filled = np.zeros(SAMPLES_PER_FRAME, np.float32), 0
        with self._lock:
            while self._waiting and filled < SAMPLES_PER_FRAME:
                piece = self._waiting.popleft()
                taken = min(len(piece), SAMPLES_PER_FRAME - filled)
                block[filled : filled + taken] = piece[:taken]
                filled += taken
                if taken < len(piece):
                    self._waiting.appendleft(piece[taken:])
            self._queued -= filled
            self._sounds.append((block, filled > 0))
            self._sent += 1
        return block, filled > 0
