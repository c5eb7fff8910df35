"""When a frame is to be shown, for transports whose listeners do not wait: frames come in bursts and leave evenly."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.motion import FPS

BUFFER = 2 / FPS  # seconds between the arrival of a frame and its showing
WINDOW = 2 * FPS  # frames after which time that was not needed is given up


class Pacer:
    """One clock for a stream. A frame that comes late puts it back; frames that all come early put it forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._start: float | None = None
        self._seen, self._spare = 0, float("inf")

    def wait(self, seconds: float) -> float:
        """How long to hold the frame of that time, now that it has come."""
        now = self._clock()
        if self._start is None or now > self._start + seconds:
            self._start = now + BUFFER - seconds
        held = self._start + seconds - now
        self._seen, self._spare = self._seen + 1, min(self._spare, held)
        if self._seen >= WINDOW:
            self._start -= max(0.0, self._spare - BUFFER)
            self._seen, self._spare = 0, float("inf")
        return held
