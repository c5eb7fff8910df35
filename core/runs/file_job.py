"""One file job: a recording through all stages into a video with its sound, offline or as if it came live."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic_components.writer import Writer
from core.avatars.avatar import Frame
from core.errors import OutputError
from core.media import PictureWriter, VideoWriter, open_output
from core.motion import SAMPLE_RATE, SAMPLES_PER_FRAME, num_frames
from core.pipeline import Pipeline, Stage, StageTiming
from core.runs.plan import RunPlan
from core.runs.playback import LiveReport, PlaybackMeter, keep_pace

Progress = Callable[[int, int], Any]


@dataclass(frozen=True)
class RunResult:
    """What a run made.

    Attributes:
        output: the video file.
        frames: its frames. seconds: its length.
        elapsed: wall time of the run in seconds, registration and encoding included, model loading not.
        timings: per stage.
        live: delay and underruns, in online mode.
    """

    output: Path
    frames: int
    seconds: float
    elapsed: float
    timings: dict[str, StageTiming]
    live: LiveReport | None = None

    @property
    def real_time_factor(self) -> float:
        """Wall time over length of the video; below 1 is faster than real time."""
        return self.elapsed / self.seconds


@dataclass(frozen=True)
class Job:
    """What is spoken and where it goes.

    Attributes:
        samples: (L,) float32 mono at 16 kHz, what the models hear.
        audio: the recording that is put into the video. output: the mp4.
        progress: called with (frames done, frames in all).
        pace: online, the samples come at the speed at which they are spoken.
    """

    samples: np.ndarray
    audio: str | Path
    output: str | Path
    progress: Progress | None = None
    pace: bool = False


def run_job(plan: RunPlan, job: Job) -> tuple[int, dict[str, StageTiming], LiveReport | None]:
    """Make the video; returns its frames, the time per stage and, in online mode, how a live audience would fare.

    Raises what a stage raised, and OutputError when frames are missing at the end; then no file is left.
    """
    total = num_frames(len(job.samples))
    total = plan.avatar.frames_for(min(total, plan.motion.limit or total))
    meter = PlaybackMeter(job.pace) if plan.options.online_mode else None
    stages = [plan.hearing(), *plan.frames(), *plan.pictures(), *_metered(meter)]
    progress = job.progress and partial(_report, job.progress, total)
    video = _open_output(plan, job)  # from here on there is a file that somebody has to remove
    pipeline = Pipeline([*stages, Writer(video).stage()], on_progress=progress)
    try:
        with pipeline:
            if meter is None:
                pipeline.put(job.samples)
            else:
                _send(pipeline, job, meter)
    except BaseException:
        pipeline.cancel()  # also when Ctrl-C came before the start
        raise
    if video.frames != total:
        video.remove()
        raise OutputError(f"{job.output}: {video.frames} frames were made for {total} frames of speech")
    return total, pipeline.timings, meter and meter.report()


def _open_output(plan: RunPlan, job: Job) -> VideoWriter | PictureWriter:
    how, avatar = plan.options.writer, plan.avatar
    return open_output(
        job.output,
        avatar.frames[0].shape[:2],
        avatar.rate,
        job.audio,
        crf=how.crf,
        tag=how.tag,
        encoder=how.encoder,
        alpha=avatar.alpha is not None,
        cut_sound=plan.options.source.loop == "once",
    )


def _send(pipeline: Pipeline, job: Job, meter: PlaybackMeter) -> None:
    """Feed the samples a frame's worth at a time, as a microphone does."""
    start = time.perf_counter()
    for first in range(0, len(job.samples), SAMPLES_PER_FRAME):
        block = job.samples[first : first + SAMPLES_PER_FRAME]
        sent = first + len(block)
        if job.pace:
            keep_pace(start, sent / SAMPLE_RATE)
        meter.sending(sent)
        pipeline.put(block)


def _metered(meter: PlaybackMeter | None) -> list[Stage]:
    """A stage that tells the meter of finished frames, where there is one."""

    def seen(frame: Frame) -> Frame:
        meter.finished(frame.index, frame.heard)
        return frame

    return [] if meter is None else [Stage("meter", seen)]


def _report(progress: Progress, total: int, done: int) -> None:
    progress(done, total)
