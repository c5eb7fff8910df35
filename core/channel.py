"""What joins two stages of a pipeline: a bounded queue that anyone can stop at any time. Spec section 16."""

import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

END = object()  # end of the stream, handed from stage to stage
_POLL = 0.2  # seconds; bounds every wait so that Ctrl-C gets through on all systems
_WAKE = object()  # for whoever waits on a channel that is stopped


class Stopped(Exception):
    """Wakes a thread that waits on a channel when the run stops."""


class Channel:
    """A bounded queue with one reader, whose waits end when the run is stopped.

    Made of queues that are a single step for the interpreter: Ctrl-C may come between any two steps, and would leave a
    condition variable locked for ever.
    """

    def __init__(self, size: int):
        self._items: SimpleQueue = SimpleQueue()
        self._room: SimpleQueue = SimpleQueue()  # a token for each free place
        for _ in range(size):
            self._room.put(None)
        self._seen: deque = deque()  # the end of the stream, when get_waiting() has come upon it
        self._stopped = False

    def put(self, item: Any, timeout: float | None = None) -> None:
        """Waits for room. Raises Stopped, or TimeoutError after `timeout` seconds."""
        self._take(self._room, timeout, "no room in the pipeline")
        self._items.put(item)

    def get(self, timeout: float | None = None) -> Any:
        """Waits for an item. Raises Stopped, or TimeoutError after `timeout` seconds."""
        if self._seen and not self._stopped:
            return self._seen.pop()
        item = self._take(self._items, timeout, "nothing came out of the pipeline")
        self._room.put(None)
        return item

    def get_waiting(self, most: int) -> list[Any]:
        """Up to `most` items that are there already, without the end of the stream."""
        items: list[Any] = []
        while len(items) < most and not self._seen and not self._stopped:
            try:
                item = self._items.get_nowait()
            except Empty:
                break
            self._room.put(None)
            (self._seen if item is END or item is _WAKE else items).append(item)
        return items

    def stop(self) -> None:
        """Drops what is waiting and wakes both sides."""
        self._stopped = True
        with suppress(Empty):
            while True:
                self._items.get_nowait()
        self._items.put(_WAKE)
        self._room.put(_WAKE)

    def _take(self, queue: SimpleQueue, timeout: float | None, complaint: str) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._stopped:
            left = _POLL if deadline is None else min(_POLL, deadline - time.monotonic())
            try:
                taken = queue.get(timeout=max(left, 0))
            except Empty:
                if left <= 0:
                    raise TimeoutError(f"{complaint} within {timeout} s") from None
                continue
            if not self._stopped:
                return taken
        queue.put(_WAKE)  # for others who wait for the same
        raise Stopped
