"""Batches of runs on a Ray cluster, whose machines share the files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.errors import DittoError, PackError, one_line
from core.jobs.jobs_file import BatchJob, JobReport
from core.jobs.runner import JobRunner


def run_on_ray(
    jobs: Sequence[BatchJob], workers: int, load: Mapping[str, Any], address: str | None = None
) -> Iterator[JobReport]:
    """Do jobs with actors of Ray and yield a report of each, as `core.jobs.workers.run_in_processes` does.

    `workers` 0 is one per GPU of the cluster, or one. Raises PackError when Ray is not installed or cannot be reached.
    """
    if not jobs:
        return
    try:
        import ray
    except ImportError:
        raise PackError("--engine ray needs Ray: pip install -e '.[ray]'") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PackError(f"no Ray cluster at {address or 'this machine'} ({one_line(error)})") from None
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
                raise PackError(one_line(error)) from None
            report = JobReport(job.number, job.output, error="its worker died")
        except ray.exceptions.RayError as error:
            report = JobReport(job.number, job.output, error=one_line(error))
        idle.append(runner)
        yield report
