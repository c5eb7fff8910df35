"""Batches of runs: workers that load the models once and keep registered sources, in processes or on a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from core.control_flags import resolve_controls
from core.errors import DittoError, PackError
from core.jobs import BatchJob, JobReport

LOG = logging.getLogger(__name__)
KEPT_SOURCES = 2  # registered sources a worker keeps; jobs are ordered by source


class JobRunner:
    """Runs jobs one after another on one loaded pack."""

    def __init__(self, load: Mapping[str, Any]):
        """`load`: arguments of StreamSDK. Raises PackError."""
        import cv2

        from core.sdk import StreamSDK

        cv2.setNumThreads(1)
        self._sdk = StreamSDK(**load)
        self._avatars: OrderedDict[Any, Any] = OrderedDict()

    def run(self, job: BatchJob) -> JobReport:
        """Do a job. Never raises for what is wrong with it: the report says so."""
        start = time.perf_counter()
        try:
            options = resolve_controls(dict(job.options))
            avatar = self._avatar(job.source, self._sdk.options(**options))
            result = self._sdk.run(avatar, job.audio, job.output, **options)
        except DittoError as error:
            return JobReport(job.number, job.output, elapsed=time.perf_counter() - start, error=_line(error))
        except Exception as error:  # one job must not take the others with it
            LOG.exception("job %d", job.number)
            said = f"{type(error).__name__}: {_line(error)}"
            return JobReport(job.number, job.output, elapsed=time.perf_counter() - start, error=said)
        return JobReport(job.number, job.output, result.frames, time.perf_counter() - start)

    def _avatar(self, source: str, options: Any) -> Any:
        """The registered source, from an earlier job if there was one."""
        key = (source, options.source, options.crop)
        if key not in self._avatars:
            self._avatars[key] = self._sdk.register(source, options)
        self._avatars.move_to_end(key)
        while len(self._avatars) > KEPT_SOURCES:
            self._avatars.popitem(last=False)
        return self._avatars[key]


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
                worker.pipe.close()
                worker.process.join()
                pool.remove(worker)
                if waiting:
                    pool.append(_start(load, worker.gpu))
    finally:
        for worker in pool:
            worker.process.terminate()
            worker.process.join()


def run_on_ray(
    jobs: Sequence[BatchJob], workers: int, load: Mapping[str, Any], address: str | None = None
) -> Iterator[JobReport]:
    """Do jobs with actors of Ray, on one machine or a cluster that shares the files; yields as `run_in_processes`.

    `workers` 0 is one per GPU of the cluster, or one. Raises PackError when Ray is not installed or cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise PackError("--engine ray needs Ray: pip install 'ditto-talkinghead[ray]'") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PackError(f"no Ray cluster at {address or 'this machine'} ({_line(error)})") from None
    try:
        yield from _on_cluster(ray, jobs, workers, load)
    finally:
        ray.shutdown()


def _on_cluster(ray: Any, jobs: Sequence[BatchJob], workers: int, load: Mapping[str, Any]) -> Iterator[JobReport]:
    waiting = sorted(jobs, key=lambda job: (job.source, job.number))
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = min(workers or max(gpus, 1), len(waiting))
    actor = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus / count), max_restarts=len(jobs))(JobRunner)
    idle, busy = [actor.remote(load) for _ in range(count)], {}
    while waiting or busy:
        while idle and waiting:
            runner, job = idle.pop(), waiting.pop(0)
            busy[runner.run.remote(job)] = (runner, job)
        (done,), _ = ray.wait(list(busy), num_returns=1)
        runner, job = busy.pop(done)
        try:
            report = ray.get(done)
        except ray.exceptions.ActorDiedError as error:
            if isinstance(getattr(error, "cause", None), DittoError) or "PackError" in str(error):
                raise PackError(_line(error)) from None
            report = JobReport(job.number, job.output, error="its worker died")
        except ray.exceptions.RayError as error:
            report = JobReport(job.number, job.output, error=_line(error))
        idle.append(runner)
        yield report


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
    process.start()
    theirs.close()
    return _Worker(process, ours, gpu)


def _work(pipe: Connection, load: dict[str, Any], gpu: str | None) -> None:
    """A worker's life: None when it is ready, then a report per job until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
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
    worker.pipe.send(job)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
