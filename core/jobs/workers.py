"""Batches of runs in processes, spread over the GPUs of a machine."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from core.errors import DittoError, PackError
from core.jobs.jobs_file import BatchJob, JobReport
from core.jobs.runner import JobRunner
from core.utils.interrupts import children_ignore_interrupts

STOP_SECONDS = 15  # that workers have to remove what they have begun to write


@dataclass
class _Worker:
    """A process, our end of its pipe, its GPU, the job it has got and the source of the last one."""

    process: Any
    pipe: Connection
    gpu: str | None
    job: BatchJob | None = None
    source: str = ""


def run_in_processes(jobs: Sequence[BatchJob], workers: int, load: Mapping[str, Any]) -> Iterator[JobReport]:
    """Do jobs in processes and yield a report of each as it ends.

    Args:
        workers: processes; 0 is one per GPU, or one. Never more than jobs. They are spread over the GPUs that exist.
        load: arguments of StreamSDK.

    A worker that dies fails its job and is replaced. Raises PackError when the pack cannot be loaded.
    """
    waiting = sorted(jobs, key=lambda job: (job.source, job.number))
    gpus = visible_gpus()
    count = min(workers or max(len(gpus), 1), len(waiting))
    pool = [_start(load, gpus[i % len(gpus)] if gpus else None) for i in range(count)]
    try:
        while pool:
            for pipe in wait([worker.pipe for worker in pool]):
                worker = next(worker for worker in pool if worker.pipe is pipe)
                report, alive = _hear(worker)
                if report is not None:
                    yield report
                if alive and waiting:
                    _give(worker, waiting, {other.source for other in pool})
                    continue
                pool.remove(worker)
                _end(worker)
                if waiting:
                    pool.append(_start(load, worker.gpu))
    finally:
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            _end(worker)


def visible_gpus() -> list[str]:
    """Names by which CUDA can be told to use the NVIDIA GPUs of this machine, one at a time."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip() and name.strip() != "-1"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(i) for i, line in enumerate(line for line in listed.stdout.splitlines() if line.startswith("GPU "))]


def _start(load: Mapping[str, Any], gpu: str | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, dict(load), gpu), daemon=True)
    with children_ignore_interrupts():
        process.start()
    theirs.close()
    return _Worker(process, ours, gpu)


def _end(worker: _Worker) -> None:
    """Wait for a worker that has been told to end; one that does not is killed."""
    worker.pipe.close()
    worker.process.join(STOP_SECONDS)
    worker.process.kill()
    worker.process.join()


def _work(pipe: Connection, load: dict[str, Any], gpu: str | None) -> None:
    """A worker's life. When the parent ends it, it gives up its job and leaves nothing of that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve(pipe, load, gpu)
    except KeyboardInterrupt:
        os._exit(1)  # a stage left behind in native code would make an ordinary exit crash


def _serve(pipe: Connection, load: dict[str, Any], gpu: str | None) -> None:
    """None when it is ready, then a report per job until the pipe is closed."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        runner = JobRunner(load)
    except DittoError as error:
        pipe.send(error)
        return
    pipe.send(None)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        if job is None:
            return
        pipe.send(runner.run(job))


def _hear(worker: _Worker) -> tuple[JobReport | None, bool]:
    """What a worker says: the report of its job, if it had one, and whether it lives."""
    job, worker.job = worker.job, None
    try:
        said = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        died = f"its worker died (exit code {worker.process.exitcode})"
        if job is None:
            raise PackError(f"a worker could not start (exit code {worker.process.exitcode})") from None
        return JobReport(job.number, job.output, error=died), False
    if isinstance(said, DittoError):
        raise said
    return said, True


def _give(worker: _Worker, waiting: list[BatchJob], taken: set[str]) -> None:
    """Hand a job to a worker: of the source it knows if there is one, or else of one that no other has."""
    same = next((job for job in waiting if job.source == worker.source), None)
    fresh = next((job for job in waiting if job.source not in taken), None)
    job = same or fresh or waiting[0]
    waiting.remove(job)
    worker.job, worker.source = job, job.source
    with suppress(ConnectionError):  # it has just died, which `_hear` will find
        worker.pipe.send(job)
