"""One BLAS thread while runs are under way: the stages are the threads, more would fight with them."""

from __future__ import annotations

import threading

from threadpoolctl import threadpool_limits


class BlasLimit:
    """Limits BLAS to one thread from the first enter() to the last leave(), however runs overlap."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limits: threadpool_limits | None = None

    def enter(self) -> None:
        """A run begins."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._limits = threadpool_limits(1, user_api="blas")

    def leave(self) -> None:
        """A run is over."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limits.restore_original_limits()

    def __enter__(self) -> BlasLimit:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
