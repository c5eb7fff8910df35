"""Worker processes on this machine. A clip that kills its worker is reported; the others do not notice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from core.errors import DittoError, PackError
from core.utils.interrupts import children_ignore_interrupts
from prepare_data.clip_job import ClipResult, run_clip
from prepare_data.data_info import Clip
from prepare_data.options import WorkOrder
from prepare_data.status import ClipStatus
from prepare_data.steps import Tools

Event = ClipResult | None  # None: one more step is done
PATIENCE = 10.0  # seconds for a worker to remove its half-made files
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_here(clips: Sequence[Clip], order: WorkOrder) -> Iterator[Event]:
    """All clips in this process, one after the other. Yields None after each step and the result of each clip."""
    tools = Tools(order)
    for clip in clips:
        result = run_clip(clip, order, tools)
        yield from [None] * result.steps
        yield result


def run_local(clips: Sequence[Clip], order: WorkOrder, workers: int) -> Iterator[Event]:
    """All clips in `workers` processes; yields as `run_here`.

    Raises PackError when the models cannot be loaded.
    """
    left = list(reversed(clips))
    busy: dict[Connection, _Worker] = {}
    try:
        while left or busy:
            while left and len(busy) < workers:
                worker = _Worker.start(order)
                worker.give(left.pop())
                busy[worker.pipe] = worker
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                event = worker.receive(order)
                if isinstance(event, ClipResult):
                    if worker.dead or not left:
                        worker.stop()
                        del busy[pipe]
                    else:
                        worker.give(left.pop())
                yield event
    finally:
        for worker in busy.values():
            worker.kill()


@dataclass
class _Worker:
    """A process, the pipe to it and the clip that it works on."""

    process: Any
    pipe: Connection
    clip: Clip | None = None
    dead: bool = False

    @classmethod
    def start(cls, order: WorkOrder) -> _Worker:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, order), daemon=True)
        before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(order.threads)))  # read when NumPy is imported
        try:
            with children_ignore_interrupts():
                process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        there.close()
        return cls(process, here)

    def give(self, clip: Clip) -> None:
        self.clip = clip
        self.pipe.send(clip)

    def receive(self, order: WorkOrder) -> Event:
        """The next event. Raises what hit the worker as a whole."""
        try:
            event = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            self.dead = True
            return lost_clip(self.clip, order, _ending(self.process.exitcode))
        if isinstance(event, DittoError):
            raise event
        return event

    def stop(self) -> None:
        """Let it end, and see to it: native code that never returns to Python hears neither the pipe nor SIGTERM."""
        self.pipe.close()
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()

    def kill(self) -> None:
        self.process.terminate()
        self.stop()


def lost_clip(clip: Clip, order: WorkOrder, how: str) -> ClipResult:
    """The result of a clip whose worker ended without a word."""
    result = ClipResult(clip.origin)
    result.failed = ("worker", f"the process that worked on it {how}")
    try:
        ClipStatus(order.status_dir, clip).fail(*result.failed)
    except DittoError:
        pass  # the report has it all the same
    return result


def limit_threads(threads: int) -> None:
    """Let libraries in this process use so many cores: the processes share them out."""
    import cv2

    cv2.setNumThreads(1)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(threads)


def _serve(pipe: Connection, order: WorkOrder) -> None:
    """A worker's life: clips come in, events go out, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and half-made files are removed on the way out
    limit_threads(order.threads)
    tools = Tools(order)
    try:
        while True:
            clip = pipe.recv()
            try:
                result = run_clip(clip, order, tools, progress=lambda: _say_step(pipe))
            except PackError as error:
                pipe.send(PackError(str(error)))
                return
            pipe.send(result)
    except (EOFError, ConnectionError):
        return  # the parent is gone or needs no more


def _say_step(pipe: Connection) -> None:
    """Tell the parent of a finished step; without a parent this process ends, which is not the clip's failure."""
    try:
        pipe.send(None)
    except ConnectionError:
        raise SystemExit from None


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"was killed ({signal.Signals(-code).name})"
        except ValueError:
            return f"was killed (signal {-code})"
    return f"ended with status {code}"
