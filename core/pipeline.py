"""Stages in a row, one thread each, joined by short queues. This file and `core.channel` alone know threads and queues.

A run ends in one of three ways, and none of them can hang: `close()` lets everything flow out, the first error of any
stage stops all of them and comes out of `put()` and `close()`, and `cancel()` stops without an error. Spec section 16.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from core.channel import END, Channel, Stopped
from core.errors import DittoError, StageError

log = logging.getLogger(__name__)

STOP_GRACE = 1.5  # seconds that close() and cancel() wait for stages once the run has been stopped
ABORT_GRACE = 10.0  # the same for stages with leftovers to remove: the end of a long video takes seconds to write
_POLL = 0.05  # seconds between looks at whether the run has been stopped meanwhile


class Cancelled(Exception):
    """put() on a pipeline that was cancelled or has ended."""


@dataclass(frozen=True)
class Stage:
    """One step. All three callables run in the stage's own thread.

    function(item) gives the next item, an iterator of items, or None when nothing is to be passed on.
    finish() runs once at the end of the stream and may return an iterator of last items.
    abort() runs instead of the rest when the run fails or is cancelled before finish() is through: remove leftovers.
    batch: function takes a list instead: of one item, and of up to batch - 1 more if they are waiting already.
    size(item) says how many an item of several counts for in the timings.
    """

    name: str
    function: Callable[[Any], Any]
    finish: Callable[[], Any] | None = None
    abort: Callable[[], None] | None = None
    batch: int | None = None
    size: Callable[[Any], int] | None = None


@dataclass
class StageTiming:
    """count: items taken in; busy: seconds in the stage's own code; waiting: seconds on its two queues."""

    count: int = 0
    busy: float = 0.0
    waiting: float = 0.0


class Pipeline:
    """Runs `stages` on daemon threads.

    on_progress(done) is called in the last stage's thread after each item that it has taken; returning False cancels.
    keep_output: what the last stage gives waits for `get()`, in a queue like the others; without it, it is dropped.
    As a context manager: starts on entry, closes on a normal exit and cancels when the body raises.
    """

    def __init__(
        self,
        stages: list[Stage],
        queue_size: int = 8,
        on_progress: Callable[[int], bool | None] | None = None,
        keep_output: bool = False,
    ):
        names = [stage.name for stage in stages]
        if not stages or len(set(names)) != len(names):
            raise ValueError(f"a pipeline needs stages with different names, got {names}")
        if queue_size < 1:
            raise ValueError(f"queue_size must be at least 1, got {queue_size}")
        self.timings = {name: StageTiming() for name in names}
        self.error: BaseException | None = None
        self.cancelled = False
        self._stages = list(stages)
        self._idle = dict(enumerate(stages))  # those that no thread has taken up
        self._on_progress = on_progress
        self._channels = [Channel(queue_size) for _ in range(len(stages) + keep_output)]
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopped_at: float | None = None
        self._ended = False
        self._drained = False

    def start(self) -> "Pipeline":
        """Starts the threads. Once per pipeline. When the system refuses, nothing is left running or lying about."""
        if self._threads:
            raise RuntimeError("the pipeline has been started already")
        if self.cancelled:
            raise Cancelled("the pipeline was cancelled before it started")
        self._threads = [
            threading.Thread(target=self._run, args=(index,), name=f"stage-{stage.name}", daemon=True)
            for index, stage in enumerate(self._stages)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.cancel()
            raise
        return self

    def put(self, item: Any, timeout: float | None = None) -> None:
        """Hands an item to the first stage and waits while its queue is full.

        Raises what a stage raised (see close) as soon as it has, Cancelled after cancel(), TimeoutError after `timeout`
        seconds without room.
        """
        if not self._threads or (self._ended and self._stopped_at is None):
            raise RuntimeError("put() outside start() ... close()")
        try:
            self._channels[0].put(item, timeout)
        except Stopped:
            self._raise_error()
            raise Cancelled("the pipeline was cancelled or has ended") from None

    def check(self) -> None:
        """Raises what a stage raised, if one has."""
        self._raise_error()

    def end(self) -> None:
        """Says that no more items come; waits only while the first queue is full. Cancels when that is interrupted."""
        if self._threads and not self._ended:
            self._ended = True
            try:
                self._channels[0].put(END)
            except Stopped:
                pass
            except BaseException:  # without the end in the queue nobody would ever stop waiting for it
                self.cancel()
                raise

    def get(self, timeout: float | None = None) -> Any:
        """The next item that the last stage gave, with `keep_output`.

        Raises StopIteration at the end of the stream and after cancel(), what a stage raised as soon as it has, and
        TimeoutError after `timeout` seconds without an item.
        """
        if not self._threads:
            raise RuntimeError("get() before start()")
        if self._drained:
            raise StopIteration
        try:
            item = self._channels[-1].get(timeout)
        except Stopped:
            self._raise_error()
            raise StopIteration from None
        if item is END:
            self._drained = True
            raise StopIteration
        return item

    def close(self) -> None:
        """Lets everything flow out and waits for it; with `keep_output`, get() must be called meanwhile.

        Raises the first error of the run: a DittoError as it is (its `stage` attribute names the stage), anything else
        as StageError. Returns quietly when the run was cancelled. After a stop it returns within STOP_GRACE seconds,
        or ABORT_GRACE when a stage has leftovers to remove.
        """
        try:
            self.end()
            self._ended = True
            self._join()
        except BaseException:
            self.cancel()
            raise
        self._raise_error()

    def cancel(self) -> None:
        """Stops all stages, drops what is in the queues and waits for their abort(), as long as close() does.

        The leftovers of stages that never started are removed here.
        """
        self._ended = True
        try:
            self._give_up()
        except KeyboardInterrupt:  # of someone who cannot wait: the leftovers are still removed
            self._give_up()
            raise

    def __enter__(self) -> "Pipeline":
        return self.start()

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    def _run(self, index: int) -> None:
        """Body of one thread."""
        stage = self._idle.pop(index, None)
        if stage is None:  # cancelled, and cleaned up, while the threads were being started
            return
        item = None
        try:
            while item is not END:
                item = self._step(index)
        except Stopped:
            pass
        except BaseException as error:  # a thread that dies in silence would hang the run
            self._fail(stage.name, error)
        self._channels[index].stop()  # nobody takes anything from it any more: put() must not wait for room
        if item is not END:
            _abort(stage)

    def _step(self, index: int) -> Any:
        """Takes one item through a stage. Returns END when the stream has ended, else None."""
        stage, timing = self._stages[index], self.timings[self._stages[index].name]
        last = index + 1 == len(self._stages)
        start = time.perf_counter()
        item = self._channels[index].get()
        timing.waiting += time.perf_counter() - start
        ended = item is END
        if ended:
            call = stage.finish or (lambda: None)
        else:
            if stage.batch:
                item = [item, *self._channels[index].get_waiting(stage.batch - 1)]
            timing.count += len(item) if stage.batch else stage.size(item) if stage.size else 1
            call = _bind(stage.function, item)
        del item  # frames are large: what the stage has dropped must be free while it waits
        followed = index + 1 < len(self._channels)
        for output in _outputs(call, timing):
            if followed:
                self._emit(index + 1, output, timing)
        if ended and followed:
            with suppress(Stopped):  # finish() is through: whatever happens now, there is nothing to abort here
                self._emit(index + 1, END, timing)
        if last and not ended and self._on_progress is not None and self._on_progress(timing.count) is False:
            self._stop()
        return END if ended else None

    def _emit(self, index: int, output: Any, timing: StageTiming) -> None:
        start = time.perf_counter()
        self._channels[index].put(output)
        timing.waiting += time.perf_counter() - start

    def _fail(self, name: str, error: BaseException) -> None:
        """Keeps the first error and stops the run."""
        if isinstance(error, DittoError):
            error.stage = name
        else:
            cause, error = error, StageError(name, error)
            error.__cause__ = cause
        with self._lock:
            if self.error is None and not self.cancelled:
                self.error = error
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            if self._stopped_at is None:
                self._stopped_at = time.monotonic()
                self.cancelled = self.error is None
        for channel in self._channels:
            channel.stop()

    def _give_up(self) -> None:
        self._stop()
        self._join()
        with suppress(KeyError):
            while True:
                _abort(self._idle.popitem()[1])

    def _join(self) -> None:
        """Waits for the threads; without limit while the run is healthy, for STOP_GRACE seconds after a stop."""
        for stage, thread in zip(self._stages, self._threads):
            grace = STOP_GRACE if stage.abort is None else ABORT_GRACE
            while thread.is_alive() and thread is not threading.current_thread():
                if self._stopped_at is not None and time.monotonic() - self._stopped_at > grace:
                    log.warning("%s did not stop in time and is left behind", thread.name)
                    break
                thread.join(_POLL)

    def _raise_error(self) -> None:
        if self.error is not None:
            raise self.error


def _abort(stage: Stage) -> None:
    """Lets a stage remove its leftovers; what goes wrong there must not hide why the run was stopped."""
    if stage.abort is not None:
        try:
            stage.abort()
        except Exception:
            log.exception("stage '%s' could not clean up", stage.name)


def _bind(function: Callable[[Any], Any], item: Any) -> Callable[[], Any]:
    """function(item) as a call without arguments that lets go of the item when it has run."""
    box = [item]
    return lambda: function(box.pop())


def _outputs(call: Callable[[], Any], timing: StageTiming) -> Iterator[Any]:
    """The items that a stage's call gives, with the time spent in the stage added to `timing.busy`."""
    start = time.perf_counter()
    try:
        result = call()
    finally:
        timing.busy += time.perf_counter() - start
    if not isinstance(result, Iterator):
        if result is not None:
            yield result
        return
    while True:
        start = time.perf_counter()
        try:
            output = next(result)
        except StopIteration:
            return
        finally:
            timing.busy += time.perf_counter() - start
        if output is not None:
            yield output
