"""Speech that arrives in pieces of any size -> whole blocks of 40 ms, held back where they come unevenly.

A conversation fills a block that is not full with silence, which would tear holes into words; so only whole blocks
leave, and after a hole more is collected before speech goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from core.motion import FPS
from core.motion import SAMPLES_PER_FRAME as BLOCK

MOST_HELD = 5  # blocks that are collected on a very uneven line
SLACK = 1.5 / FPS  # seconds after which a block that did not come has left a hole
QUIET = 0.004  # root mean square below which sound is a pause
LAG = 0.2  # seconds of waiting speech above which pauses of a microphone are left out


class Intake:
    """One client's speech. `say` takes what leaves, see `Conversation.say`."""

    def __init__(self, say: Callable[[np.ndarray], None], clock: Callable[[], float] = time.monotonic):
        self._say, self._clock = say, clock
        self._held = np.zeros(0, np.float32)
        self._ends = -np.inf  # when what has left will have been spoken
        self._need = 1  # blocks to collect before speech starts or goes on
        self._flowing = False

    @property
    def holding(self) -> bool:
        """Whether sound waits for more."""
        return len(self._held) > 0

    def feed(self, samples: np.ndarray, live: bool = False) -> None:
        """(m,) float32. `live`: from an endless microphone, whose pauses make up for delays. Raises InputError."""
        now = self._clock()
        if live and self._ends - now > LAG and np.sqrt(np.mean(samples**2)) < QUIET:
            return
        if self._flowing and now > self._ends + SLACK:
            self._flowing, self._need = False, min(self._need + 1, MOST_HELD)
        self._held = np.concatenate([self._held, samples]) if len(self._held) else samples
        if not self._flowing and len(self._held) < self._need * BLOCK:
            return
        whole = len(self._held) // BLOCK * BLOCK
        if whole:
            self._send(whole, now)

    def flush(self) -> None:
        """The turn is over: what is held is spoken. Raises InputError."""
        if len(self._held):
            self._send(len(self._held), self._clock())
        self._flowing, self._need = False, 1

    def reset(self) -> None:
        """Forget the turn."""
        self._held = self._held[:0]
        self._ends, self._flowing, self._need = -np.inf, False, 1

    def _send(self, count: int, now: float) -> None:
        piece, self._held = self._held[:count], self._held[count:]
        self._say(piece)
        self._flowing = True
        self._ends = max(now, self._ends) + -(-count // BLOCK) / FPS
