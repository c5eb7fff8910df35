"""The clock of a live avatar: holds frames back until their turn, so that what is not shown yet can still change."""

from __future__ import annotations

import threading

from core.avatars.avatar import Frame
from core.motion import SAMPLES_PER_FRAME


class Pace:
    """A frame may pass `delay` ticks after its own; one tick is 40 ms, and a block of speech, that have gone by.

    The delay is the speech that had to be heard before a frame could be made, for the frame that needed most.
    """

    def __init__(self) -> None:
        self.delay = 0  # ticks
        self._ticks = 0
        self._free = False
        self._changed = threading.Condition()

    def tick(self) -> None:
        """Another block has been sent."""
        with self._changed:
            self._ticks += 1
            self._changed.notify_all()

    def wait(self, frame: Frame) -> None:
        """Until it is this frame's turn, or the pace has been given up."""
        with self._changed:
            self.delay = max(self.delay, -(-frame.heard // SAMPLES_PER_FRAME) - frame.index)
            self._changed.wait_for(lambda: self._free or self._ticks >= frame.index + self.delay)

    def give_up(self) -> None:
        """All frames may pass from now on."""
        with self._changed:
            self._free = True
            self._changed.notify_all()
