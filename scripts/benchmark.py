"""Measure the pipeline on this machine: a table, and JSON with --json FILE.

    python scripts/benchmark.py                       # end to end, per stage, render, start-up
    python scripts/benchmark.py --what memory         # peak memory of one and of ten minutes of speech (takes minutes)
    python scripts/benchmark.py --what lmdm           # official motion model, 50 steps, against a plain loop (torch)

Every figure that a fresh process decides (start-up, peak memory) is measured in one.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run from a checkout, without installing the project

# Runs one job and prints what the parent wants as JSON. argv: source, audio, output, seed, start of the process.
CHILD = """
import json, resource, sys, time
import cv2
cv2.setNumThreads(1)
from core.sdk import StreamSDK
first = []
imported = time.time()
sdk = StreamSDK()
loaded = time.time()
result = sdk.run(sys.argv[1], sys.argv[2], sys.argv[3], seed=int(sys.argv[4]),
                 progress=lambda done, total: first or first.append(time.time()))
print(json.dumps({
    "frames": result.frames, "seconds": result.seconds, "elapsed": result.elapsed, "setup": loaded - imported,
    "imports": imported - float(sys.argv[5]), "first_frame": first[0] - float(sys.argv[5]),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "stages": {name: [t.count, t.busy] for name, t in result.timings.items()}}))
"""


def run_job(source: Path, audio: Path, seed: int = 0) -> dict:
    """One job in a fresh process; times in seconds, memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [source, audio, f"{folder}/out.mp4", seed, time.time()]
        command = [sys.executable, "-c", CHILD, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the benchmark run failed:\n{done.stderr}")
    return json.loads(done.stdout)


def median_job(source: Path, audio: Path, runs: int) -> dict:
    """The run with the median real-time factor among `runs`."""
    jobs = sorted((run_job(source, audio) for _ in range(runs)), key=lambda job: job["elapsed"] / job["seconds"])
    return jobs[len(jobs) // 2]


def end_to_end(source: Path, audio: Path, runs: int) -> dict:
    """Rows of the end-to-end table."""
    job = median_job(source, audio, runs)
    rows = {
        "speech, s": job["seconds"],
        "real-time factor (load, register, render, encode)": (job["setup"] + job["elapsed"]) / job["seconds"],
        "frames per second": job["frames"] / job["elapsed"],
        "model loading, s": job["setup"],
        "process start to first finished frame, s": job["first_frame"],
        "peak resident memory, MB": job["peak_mb"],
    }
    rows |= {f"stage {name}, ms": 1000 * busy / max(count, 1) for name, (count, busy) in job["stages"].items()}
    return rows


def render(source: Path, audio: Path, frames: int = 200) -> dict:
    """Warp and decode alone, one thread, on real driving motion."""
    import cv2

    cv2.setNumThreads(1)
    from core.sdk import StreamSDK

    sdk = StreamSDK()
    pairs, avatar = sdk.keypoint_pairs(source, audio, limit=frames)
    times, cpu = [], []
    for x_s, x_d in pairs:
        start, start_cpu = time.perf_counter(), time.thread_time()
        sdk.models.decode(sdk.models.warp(avatar.features[0], x_s, x_d))
        times.append(time.perf_counter() - start)
        cpu.append(time.thread_time() - start_cpu)
    times, cpu = sorted(times), sorted(cpu)
    return {
        "render, ms per frame, median": 1000 * times[len(times) // 2],
        "render, ms per frame, processor time, median": 1000 * cpu[len(cpu) // 2],
    }


def memory(source: Path, audio: Path) -> dict:
    """Peak memory of one and of ten minutes of speech."""
    import numpy as np
    import soundfile

    from core.media import read_audio

    samples = read_audio(audio)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10):
            path = Path(folder) / f"{minutes}.wav"
            soundfile.write(path, np.resize(samples, minutes * 60 * 16000), 16000)
            job = run_job(source, path)
            rows[f"peak resident memory, {minutes} min of speech, MB"] = job["peak_mb"]
            rows[f"real-time factor, {minutes} min of speech"] = job["elapsed"] / job["seconds"]
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--what", choices=("all", "e2e", "render", "memory", "lmdm"), default="all", help="all = e2e and render"
    )
    parser.add_argument("--source", type=Path, default=ROOT / "example" / "portrait.png")
    parser.add_argument("--audio", type=Path, default=ROOT / "example" / "speech.wav")
    parser.add_argument("--runs", type=int, default=3, help="runs of the end-to-end job; the median one is shown")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    rows = {}
    if args.what in ("all", "e2e"):
        rows |= end_to_end(args.source.resolve(), args.audio.resolve(), args.runs)
    if args.what in ("all", "render"):
        rows |= render(args.source, args.audio)
    if args.what == "memory":
        rows |= memory(args.source.resolve(), args.audio.resolve())
    if args.what == "lmdm":
        from benchmark_lmdm import lmdm

        rows |= lmdm(args.runs)
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}\n")
    print("| figure | value |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value:.2f} |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
