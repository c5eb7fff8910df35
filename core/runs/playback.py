"""How a live run would look to its audience: delay of the first frame, frames that come too late."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from core.motion import FPS, SAMPLE_RATE

BUFFER = 2 / FPS  # seconds that a player waits after the first frame, against jitter


@dataclass(frozen=True)
class LiveReport:
    """Figures of a live run.

    Attributes:
        audio_needed: seconds of speech that had to arrive before the first frame could be made.
        compute: seconds from then until it was finished.
        late: underruns, frames that were not there when their turn came; None: the speech did not come at its pace.
        worst: seconds by which the latest frame was late, 0 when none was; None likewise.
    """

    audio_needed: float
    compute: float
    late: int | None = None
    worst: float | None = None


class PlaybackMeter:
    """Watches a run: the feeder reports what it sends, the last stage what it has finished.

    A player starts BUFFER after the first frame and shows a frame every 40 ms; a frame that comes later is an underrun
    and holds nothing up, since the sound plays on.
    """

    def __init__(self, paced: bool):
        self._paced = paced
        self._lock = threading.Lock()
        self._sent: list[tuple[int, float]] = []  # samples so far and when, until the first frame
        self._start: float | None = None
        self._needed = 0
        self._compute = 0.0
        self._late = 0
        self._worst = 0.0

    def sending(self, samples: int) -> None:
        """So many samples have been on their way since now."""
        with self._lock:
            if self._start is None:
                self._sent.append((samples, time.perf_counter()))

    def finished(self, index: int, heard: int) -> None:
        """A frame is finished."""
        now = time.perf_counter()
        with self._lock:
            if self._start is None:
                self._start, self._needed = now, heard
                self._compute = now - next(when for samples, when in self._sent if samples >= heard)
                return
            lateness = now - self._start - BUFFER - index / FPS
            if lateness > 0:
                self._late += 1
                self._worst = max(self._worst, lateness)

    def report(self) -> LiveReport | None:
        """What was seen; None before the first frame."""
        if self._start is None:
            return None
        paced = (self._late, self._worst) if self._paced else (None, None)
        return LiveReport(self._needed / SAMPLE_RATE, self._compute, *paced)


def keep_pace(start: float, seconds: float) -> None:
    """Wait until `seconds` after `start` on the clock of time.perf_counter()."""
    left = start + seconds - time.perf_counter()
    if left > 0:
        time.sleep(left)
