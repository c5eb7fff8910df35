"""Order of the samples, and batches assembled ahead of their use (spec training.md 7.4)."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import InputError
from MotionDiT.windows import Batch, Windows

AHEAD = 2  # batches per thread that wait to be used
ORDER, FRAMES = zlib.crc32(b"order"), zlib.crc32(b"frames")


@dataclass(frozen=True)
class Share:
    """`count` samples of all processes together, of which `mine` are those of this one."""

    count: int
    mine: slice


class Loader:
    """Shuffled batches. What a batch holds is a function of seed, epoch and number, whatever came before.

    P processes with batches of B see the samples of one process with batches of P B, in the same order.

    Args:
        batch_size: B, samples per process. ready: called in a thread on each batch; what it returns is handed out.
    """

    def __init__(
        self,
        windows: Windows,
        batch_size: int,
        seed: int,
        world: int = 1,
        rank: int = 0,
        drop_last: bool = True,
        threads: int = 1,
        ready: Callable[[Batch], Any] = lambda batch: batch,
    ):
        self._windows, self._size, self._seed = windows, batch_size, seed
        self._world, self._rank, self._threads, self._ready = world, rank, threads, ready
        whole, rest = divmod(len(windows), batch_size * world)
        self.steps = whole + (not drop_last and rest >= world)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        if not self.steps:
            raise InputError(
                f"{len(windows)} windows do not fill one batch of {batch_size} on each of {world} processes; "
                f"take --batch_size {max(1, len(windows) // world)} or less, more clips, or --no-drop_last"
            )

    def chosen(self, epoch: int, number: int) -> tuple[np.ndarray, Share]:
        """Windows of batch `number` of an epoch, those of all processes, and the share of this one."""
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch, ORDER]).permutation(len(self._windows)))
        joint = self._size * self._world
        windows = self._order[1][number * joint : (number + 1) * joint]
        each = len(windows) // self._world
        windows, first = windows[: each * self._world], self._rank * each
        return windows, Share(len(windows), slice(first, first + each))

    def batch(self, epoch: int, number: int) -> Batch:
        """The samples of this process."""
        return self._batch(*self.chosen(epoch, number), epoch, number)

    def _batch(self, windows: np.ndarray, share: Share, epoch: int, number: int) -> Batch:
        fractions = np.random.default_rng([self._seed, epoch, number, FRAMES]).random((2, len(windows)))
        return self._windows.batch(windows[share.mine], fractions[:, share.mine])

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[int, Share, Any]]:
        """Number, share and content of the batches `first` .. of an epoch."""
        with ThreadPoolExecutor(self._threads, "batches") as pool:
            waiting: deque[tuple[int, Share, Future]] = deque()
            try:
                for number in range(first, self.steps):
                    windows, share = self.chosen(epoch, number)
                    waiting.append((number, share, pool.submit(self._prepared, windows, share, epoch, number)))
                    if len(waiting) > AHEAD * self._threads:
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _prepared(self, windows: np.ndarray, share: Share, epoch: int, number: int) -> Any:
        return self._ready(self._batch(windows, share, epoch, number))

    @staticmethod
    def _next(waiting: deque[tuple[int, Share, Future]]) -> tuple[int, Share, Any]:
        number, share, batch = waiting.popleft()
        return number, share, batch.result()
