"""One BLAS thread while runs are under way: the stages are the threads, more would fight with them."""

from __future__ import annotations

import threading
from typing import ClassVar

from threadpoolctl import threadpool_limits


class BlasLimit:
    """Limits BLAS to one thread from the first enter() to the last leave(), however runs overlap.

    BLAS has one limit for the whole process, so all objects of this class count together.
    """

    _lock: ClassVar = threading.Lock()
    _users: ClassVar[int] = 0
    _limits: ClassVar[threadpool_limits | None] = None

    def enter(self) -> None:
        """A run begins."""
        cls = BlasLimit
        with cls._lock:
            cls._users += 1
            if cls._users == 1:
                cls._limits = threadpool_limits(1, user_api="blas")

    def leave(self) -> None:
        """A run is over."""
        cls = BlasLimit
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                cls._limits.restore_original_limits()

    def __enter__(self) -> BlasLimit:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
