"""Runs steps over all clips with the chosen engine, shows progress, reports (spec training.md 3, 4)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import InputError
from prepare_data.clip_job import ClipResult
from prepare_data.data_info import Clip, read_data_info
from prepare_data.emotion_models import announcement, find_source
from prepare_data.files import write_json
from prepare_data.models import open_models
from prepare_data.options import FeatureOptions, RunOptions, WorkOrder
from prepare_data.pool import Event, run_here, run_local
from prepare_data.status import only_run, status_folder
from prepare_data.steps import STEPS

LOG = logging.getLogger(__name__)
ALL_STEPS = tuple(name for name in STEPS if name != "eyes_mirrored")  # which "eyes_flip" does better


@dataclass(frozen=True)
class Summary:
    """Results of all clips, in the order of `data_info.json`."""

    results: list[ClipResult]

    @property
    def failed(self) -> list[ClipResult]:
        """Clips that cannot be used."""
        return [result for result in self.results if result.failed is not None]

    def lines(self) -> Iterator[str]:
        """The report for people: counts, then remarks, then failures with their reasons."""
        whole = [result for result in self.results if result.failed is None]
        before = sum(not result.done for result in whole)
        counts = f"{len(whole)} usable ({before} of them finished before), {len(self.failed)} failed"
        yield f"{len(self.results)} clips: {counts}"
        adopted = sum(bool(result.adopted) for result in self.results)
        if adopted:
            yield f"files made elsewhere were kept for {adopted} clips (--overwrite makes them anew)"
        for result in self.results:
            for note in result.notes:
                yield f"  note: {result.clip}: {note}"
        for result in self.failed:
            step, reason = result.failed
            yield f"  failed: {result.clip}: {reason} (step {step})"


def run_steps(data_info: str | Path, steps: Sequence[str], features: FeatureOptions, run: RunOptions) -> Summary:
    """Run `steps` (names of STEPS) for every clip of a `data_info.json` and write `report.json` into the status folder.

    Raises DittoError for what concerns all clips; clips that fail are in the summary.
    """
    if run.workers < 0:
        raise InputError(f"--workers is {run.workers}; it must be 0 or more")
    clips = read_data_info(data_info, needed_lists(steps))
    clips = clips[run.data_start : None if run.data_end < 0 else run.data_end]
    if not clips:
        raise InputError(f"--data_start {run.data_start} --data_end {run.data_end} leaves no clips")
    if "emotion" in steps:
        LOG.log(*announcement(find_source(features.emo_source, features.emo_model)))
    open_models(features.data_root, features.cfg_pkl or None, run.device, features.fp16, 1)  # complete? then go on
    folder = status_folder(data_info)
    order = WorkOrder(
        tuple(steps), str(folder.resolve()), features, run.device, run.overwrite, _threads(run.workers or 1)
    )
    with only_run(folder, f"{run.data_start}.{run.data_end}"):
        results = _collect(clips, order, run)
        report = {"steps": list(steps), "options": asdict(features), "clips": [asdict(result) for result in results]}
        write_json(folder / "report.json", report)
    return Summary(results)


def needed_lists(steps: Sequence[str]) -> list[str]:
    """Lists of `data_info.json` that the steps read or write, each once."""
    names = [name for step in steps for name in (*STEPS[step].reads, *STEPS[step].outputs)]
    return list(dict.fromkeys(names))


def _collect(clips: Sequence[Clip], order: WorkOrder, run: RunOptions) -> list[ClipResult]:
    from tqdm import tqdm

    results: dict[str, ClipResult] = {}
    total = len(clips) * len(order.steps)
    with tqdm(total=total, unit="step", disable=True if run.quiet else None, desc="preparing") as bar:
        for event in _engine(clips, order, run):
            if event is None:
                bar.update()
                continue
            results[event.clip] = event
            if event.failed is not None:
                bar.update(len(order.steps) - event.steps)
            bar.set_postfix(clips=f"{len(results)}/{len(clips)}", refresh=False)
    return [results[clip.origin] for clip in clips]


def _engine(clips: Sequence[Clip], order: WorkOrder, run: RunOptions) -> Iterator[Event]:
    if run.engine == "ray":
        from prepare_data.ray_engine import run_ray

        return run_ray(clips, order, max(run.workers, 1), run.address)
    return run_local(clips, order, run.workers) if run.workers else run_here(clips, order)


def _threads(workers: int) -> int:
    """Cores for each worker."""
    return max(1, (os.cpu_count() or 1) // workers)
