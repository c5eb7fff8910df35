"""One portrait and one speech recording in, a talking video out.

    python inference.py                                        # the example portrait and speech
    python inference.py --source_path me.jpg --audio_path hello.wav --output_path hello.mp4

A flag that is not given is not passed on, so that the pack's configuration decides (spec pipeline.md sections 3, 17).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from core.cli.control_flags import add_control_flags
from core.cli.program import Parser, leave, run_program, set_up_logging
from core.cli.run_flags import (
    add_batch_flags,
    add_file_flags,
    add_live_flags,
    add_motion_flags,
    add_pack_flags,
    add_source_flags,
)
from core.cli.video_flags import add_video_flags
from core.errors import InputError
from core.settings.control_files import resolve_controls
from core.settings.speed import Speed

EXAMPLE = Path(__file__).resolve().parent / "example"
FORK_NAMES = {"source_path": "--source_video", "audio_path": "--audio", "output_path": "--output"}
BATCH_FLAGS = ("jobs", "workers", "resume", "engine", "address")


def build_parser() -> Parser:
    """All flags of the front door, grouped. Names and meanings are the reference's where it has them."""
    parser = Parser(
        prog=Path(sys.argv[0]).name,
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        epilog="Without --source_path and --audio_path, the portrait and the speech in example/ are used. "
        "Defaults in brackets are those of the embedded pack; other packs bring their own.",
    )
    for add_flags in (
        *(add_file_flags, add_pack_flags, add_motion_flags, add_control_flags, add_live_flags),
        *(add_source_flags, add_video_flags, add_batch_flags),
    ):
        add_flags(parser)
    talk = parser.add_argument_group("messages").add_mutually_exclusive_group()
    talk.add_argument("--verbose", action="store_true", help="say what is being done, and time per stage")
    talk.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def main(argv: list[str] | None = None, required: Sequence[str] = (), **defaults: Any) -> int:
    """Run the command line; returns the exit code (0 done, 1 internal failure, 2 bad input, 130 interrupted).

    required: options without which nothing is done. defaults: options for when the command line does not have them.
    """
    parser = build_parser()
    options = {**defaults, **vars(parser.parse(argv))}
    missing = [FORK_NAMES[name] for name in required if name not in options]
    if missing:
        parser.error(f"{', '.join(missing)} must be given")
    verbose, quiet = options.pop("verbose", False), options.pop("quiet", False)
    set_up_logging(verbose, quiet)
    if "jobs" in options:
        return run_program(lambda: run_batch(options, quiet), "interrupted; finished jobs stay, --resume skips them")
    return run_program(lambda: run_one(options, verbose, quiet), "interrupted; nothing was written")


def run_one(options: dict, verbose: bool, quiet: bool) -> None:
    """One run, and what there is to say about it."""
    result = generate(options, show_progress=not quiet)
    if not quiet:
        print(
            f"{result.output}: {result.frames} frames, {result.seconds:.2f} s of video in {result.elapsed:.2f} s "
            f"(real-time factor {result.real_time_factor:.2f}){peak_memory()}"
        )
        if result.live is not None:
            print(live_figures(result.live))
    if verbose:
        for name, timing in result.timings.items():
            print(f"  {name:<14} {1000 * timing.busy / max(timing.count, 1):7.2f} ms x {timing.count}")


def live_figures(live) -> str:
    """One line about the delay and the underruns of a live run."""
    line = f"  first frame after {1000 * live.audio_needed:.0f} ms of audio + {1000 * live.compute:.0f} ms of computing"
    if live.late:
        return f"{line}; {live.late} frames late, by up to {1000 * live.worst:.0f} ms"
    return line if live.late is None else f"{line}; no frame late"


def run(SDK, audio_path: str, source_path: str, output_path: str, more_kwargs: dict | str | None = None):
    """The reference's function of this name; `more_kwargs` holds setup_kwargs and run_kwargs (spec 17.1)."""
    return SDK.run(source_path, audio_path, output_path, more_kwargs=more_kwargs)


def peak_memory() -> str:
    """`, peak memory N MB` of this process, or nothing where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6:.0f} MB"


def generate(options: dict, show_progress: bool):
    """Load the pack and run one job. Heavy imports wait until the flags have been understood."""
    import cv2
    from tqdm import tqdm

    from core.sdk import StreamSDK

    for name in BATCH_FLAGS[1:]:
        if name in options:
            raise InputError(f"--{name} is for many runs; it goes with --jobs FILE")
    cv2.setNumThreads(1)  # the stages already use the cores; more threads only fight with them
    source = options.pop("source_path", str(EXAMPLE / "portrait.png"))
    audio = options.pop("audio_path", str(EXAMPLE / "speech.wav"))
    output = options.pop("output_path", "output/result.mp4")
    load, options = pack_arguments(options), resolve_controls(options)
    sdk = StreamSDK(**load)
    hidden = None if show_progress else True  # None: shown on a terminal only
    bar = tqdm(unit="frame", disable=hidden, leave=False, delay=0.2)

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        return sdk.run(source, audio, output, progress=progress, **options)


def pack_arguments(options: dict) -> dict:
    """Take the arguments of StreamSDK out of the options."""
    names = ("cfg_pkl", "data_root", "lmdm", *(field.name for field in fields(Speed)))
    return {name: options.pop(name) for name in names if name in options}


def run_batch(options: dict, quiet: bool) -> int:
    """Do all jobs of a file; returns 0, or 1 when some have failed. Raises DittoError when none can be done."""
    from core.jobs.jobs_file import DoneLog, read_jobs
    from core.jobs.ray_engine import run_on_ray
    from core.jobs.workers import run_in_processes

    path, workers, resume, engine, address = (options.pop(name, None) for name in BATCH_FLAGS)
    wrong = [name for name in ("source_path", "audio_path", "output_path", "pace") if name in options]
    if wrong:
        raise InputError(f"--{wrong[0]} is for a single run; with --jobs the file says it")
    if address and engine != "ray":
        raise InputError("--address goes with --engine ray")
    if workers is not None and workers < 1:
        raise InputError(f"--workers is {workers}; give 1 or more")
    load = pack_arguments(options)
    jobs = read_jobs(path, options)
    log, failed = DoneLog(path, jobs), 0
    todo = log.pending() if resume else jobs
    on_ray = engine == "ray"
    reports = run_on_ray(todo, workers or 0, load, address) if on_ray else run_in_processes(todo, workers or 0, load)
    with closing(reports):  # whatever ends the loop, the workers are told at once
        for count, report in enumerate(reports, 1):
            if report.error:
                failed += 1
                print(f"error: job {report.number} ({report.output}): {report.error}", file=sys.stderr)
                continue
            log.add(report)
            if not quiet:
                made = f"{report.frames} frames in {report.elapsed:.2f} s"
                print(f"{count}/{len(todo)} {report.output}: {made}", flush=True)
    if not quiet:
        skipped = f", {len(jobs) - len(todo)} were done before" if len(todo) < len(jobs) else ""
        print(f"{len(todo) - failed} of {len(todo)} jobs done, {failed} failed{skipped}")
    return 1 if failed else 0


if __name__ == "__main__":
    leave(main())
