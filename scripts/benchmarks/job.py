"""Whole runs, each in a fresh process: start-up and peak memory are decided there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benchmarks.report import Rows, quantile

ROOT = Path(__file__).resolve().parents[2]

# Runs one job and prints what the parent wants as JSON. argv: the job as JSON, start of the process.
CHILD = """
import contextlib, json, resource, sys, time
import cv2
cv2.setNumThreads(1)
from core.sdk import StreamSDK
job, begin = json.loads(sys.argv[1]), float(sys.argv[2])
imported = time.time()
sdk = StreamSDK(data_root=job["pack"], **job["speed"])
loaded = time.time()
if job["plain"]:
    from scripts.benchmarks.plain import make_plain
    make_plain(sdk, job["pack"], job["speed"])
ticks = []
result = sdk.run(job["source"], job["audio"], job["output"], progress=lambda done, total: ticks.append(time.time()),
                 **job["options"])
live = getattr(result, "live", None)
gpu = 0.0
if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
    gpu = sys.modules["torch"].cuda.max_memory_reserved() / 2**20
print(json.dumps({
    "frames": result.frames, "seconds": result.seconds, "elapsed": result.elapsed, "setup": loaded - imported,
    "imports": imported - begin, "first_frame": ticks[0] - begin, "ticks": ticks, "gpu_mb": gpu,
    "live": live and {name: getattr(live, name) for name in ("audio_needed", "compute", "late", "worst")},
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "stages": {name: [t.count, t.busy] for name, t in result.timings.items()}}))
"""


@dataclass(frozen=True)
class Job:
    """What is run: input files, pack, `Speed` options and run options by name. plain: the eager path instead."""

    source: Path
    audio: Path
    pack: str = "auto"
    speed: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    plain: bool = False


def run_job(job: Job) -> dict[str, Any]:
    """One run in a fresh process; times in seconds, memory in MB. Raises SystemExit with what it said if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        given = {**vars(job), "source": str(job.source), "audio": str(job.audio), "output": f"{folder}/out.mp4"}
        command = [sys.executable, "-c", CHILD, json.dumps(given), str(time.time())]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: the benchmark run failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def median_job(job: Job, runs: int) -> dict[str, Any]:
    """The run with the median real-time factor among `runs`."""
    found = sorted((run_job(job) for _ in range(runs)), key=lambda one: one["elapsed"] / one["seconds"])
    return found[len(found) // 2]


def end_to_end(job: Job, runs: int) -> Rows:
    """Speed, start and memory of a whole run."""
    one = median_job(job, runs)
    gaps = [1000 * (b - a) for a, b in zip(one["ticks"], one["ticks"][1:])]
    late = one["ticks"][len(one["ticks"]) // 4 :]  # beyond the start-up of the stages
    rows = {
        "speech, s": one["seconds"],
        "real-time factor (register, render, encode)": one["elapsed"] / one["seconds"],
        "real-time factor (load, register, render, encode)": (one["setup"] + one["elapsed"]) / one["seconds"],
        "frames per second": one["frames"] / one["elapsed"],
        "frames per second, steady": (len(late) - 1) / (late[-1] - late[0]) if len(late) > 1 else 0.0,
        "time between frames, ms, median": quantile(gaps, 0.5),
        "time between frames, ms, 95%": quantile(gaps, 0.95),
        "model loading, s": one["setup"],
        "process start to first finished frame, s": one["first_frame"],
        "peak resident memory, MB": one["peak_mb"],
    }
    return rows | ({"peak GPU memory, MB": one["gpu_mb"]} if one["gpu_mb"] else {})


def stages(job: Job, runs: int) -> Rows:
    """Time of each stage per frame of the video."""
    one = median_job(job, runs)
    return {f"{name}, ms per frame": 1000 * busy / one["frames"] for name, (_, busy) in one["stages"].items()}


def stream(job: Job, runs: int) -> Rows:
    """A live run at the pace of speech: delay of the first frame, underruns, load."""
    live = Job(job.source, job.audio, job.pack, job.speed, {**job.options, "online_mode": True})
    fast = median_job(live, runs)
    return {
        "first frame, audio needed, ms": 1000 * fast["live"]["audio_needed"],
        "first frame, compute, ms": 1000 * fast["live"]["compute"],
        "real-time factor, as fast as possible": fast["elapsed"] / fast["seconds"],
        "streams that stay real-time, estimated": fast["seconds"] / fast["elapsed"],
        "peak resident memory, MB": fast["peak_mb"],
    }


def memory(job: Job) -> Rows:
    """Peak memory of one and of ten minutes of speech."""
    import numpy as np
    import soundfile

    from core.media import read_audio
    from core.motion import SAMPLE_RATE

    samples = read_audio(job.audio)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10):
            path = Path(folder) / f"{minutes}.wav"
            soundfile.write(path, np.resize(samples, minutes * 60 * SAMPLE_RATE), SAMPLE_RATE)
            one = run_job(Job(job.source, path, job.pack, job.speed, job.options))
            rows[f"peak resident memory, {minutes} min of speech, MB"] = one["peak_mb"]
            rows[f"real-time factor, {minutes} min of speech"] = one["elapsed"] / one["seconds"]
    return rows
