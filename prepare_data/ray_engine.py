"""The same work on Ray, on one machine or several that see the files under the same paths."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.errors import DittoError, InputError
from prepare_data.clip_job import ClipResult, run_clip
from prepare_data.data_info import Clip
from prepare_data.options import WorkOrder
from prepare_data.pool import Event, limit_threads, lost_clip
from prepare_data.steps import Tools

ROOT = Path(__file__).resolve().parents[1]


class RayWorker:
    """What runs as a Ray actor: the models are loaded once, clips come one by one."""

    def __init__(self, order: WorkOrder):
        limit_threads(order.threads)
        self._order, self._tools = order, Tools(order)

    def run(self, clip: Clip) -> ClipResult | DittoError:
        """The result, or the error that would hit every clip."""
        try:
            return run_clip(clip, self._order, self._tools)
        except DittoError as error:
            return type(error)(str(error))


def run_ray(clips: Sequence[Clip], order: WorkOrder, workers: int, address: str) -> Iterator[Event]:
    """All clips on `workers` Ray actors, of one core each; yields as `pool.run_here`.

    Raises InputError for relative paths and when Ray is missing or its cluster does not answer; PackError when the
    models cannot be loaded.
    """
    relative = [clip.origin for clip in clips if not all(Path(path).is_absolute() for path in clip.paths.values())]
    if relative:
        raise InputError(f"--engine ray needs absolute paths in data_info.json; those of {relative[0]} are not")
    ray = _connect(workers, address)
    try:
        actor = ray.remote(num_cpus=1, max_restarts=-1)(RayWorker)
        idle = [actor.remote(order) for _ in range(min(workers, len(clips)))]
        left = list(reversed(clips))
        running: dict[Any, tuple[Any, Clip]] = {}
        while left or running:
            while left and idle:
                worker, clip = idle.pop(), left.pop()
                running[worker.run.remote(clip)] = (worker, clip)
            (ready,), _ = ray.wait(list(running), num_returns=1)
            worker, clip = running.pop(ready)
            idle.append(worker)
            yield from _events(ray, ready, clip, order)
    finally:
        ray.shutdown()


def _events(ray: Any, ready: Any, clip: Clip, order: WorkOrder) -> Iterator[Event]:
    try:
        outcome = ray.get(ready)
    except ray.exceptions.RayActorError:
        outcome = lost_clip(clip, order, "died on its Ray node")
    if isinstance(outcome, DittoError):
        raise outcome
    yield from [None] * outcome.steps
    yield outcome


def _connect(workers: int, address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray needs Ray: pip install -e '.[ray]'") from None
    environment = {"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}}
    place = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(**place, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"the Ray cluster at {address}" if address else "a local Ray cluster"
        raise InputError(f"{where} does not answer: {' '.join(str(error).split())[:200]}") from None
    return ray
