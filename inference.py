"""One portrait and one speech recording in, a talking video out.

    python inference.py                                        # the example portrait and speech
    python inference.py --source_path me.jpg --audio_path hello.wav --output_path hello.mp4

A flag that is not given is not passed on, so that the pack's configuration decides (spec pipeline.md sections 3, 17).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from core.cli.control_flags import add_control_flags, resolve_controls
from core.cli.program import Parser, leave, run_program, set_up_logging
from core.cli.video_flags import add_video_flags
from core.errors import InputError
from core.packs.speed import PRECISIONS, Speed

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
        epilog="Without --source_path and --audio_path the pictures and speech in example/ are used. "
        "Defaults in brackets are those of the embedded pack; other packs bring their own.",
    )
    main_io = parser.add_argument_group("input and output")
    main_io.add_argument(
        "--source_path",
        "--source_video",
        "--source",
        help="picture, video, folder of pictures or pattern such as frames/%%04d.png [example/portrait.png]",
    )
    main_io.add_argument("--audio_path", "--audio", help="speech: wav, mp3, m4a, flac, ogg, ... [example/speech.wav]")
    main_io.add_argument("--output_path", "--output", help="video to write [output/result.mp4]")
    main_io.add_argument("--crf", type=int, help="video quality, 0 (best) to 51; lower is larger [18]")
    main_io.add_argument(
        "--no_tag",
        dest="tag",
        action="store_false",
        help="leave out the note in the file that says the video is synthetic",
    )
    models = parser.add_argument_group("models")
    models.add_argument("--data_root", help="folder of a model pack, or 'auto' [auto]")
    models.add_argument("--cfg_pkl", help="configuration of the pack, .pkl or .yaml [the one inside the pack]")
    models.add_argument("--lmdm", help="motion network trained with MotionDiT/, in place of the pack's")
    speed = parser.add_argument_group("speed of official packs (the embedded one runs on the CPU in its own way)")
    speed.add_argument("--device", help="auto, cpu, cuda, cuda:1 [auto: a GPU if there is one]")
    speed.add_argument("--precision", choices=PRECISIONS, help="of the large PyTorch networks [auto: fp16 on a GPU]")
    speed.add_argument("--batch_size", type=int, help="frames rendered at once, where that many wait [8 on a GPU]")
    speed.add_argument("--compile", action="store_true", help="torch.compile: slower to start, then faster")
    speed.add_argument("--no_cuda_graphs", dest="cuda_graphs", action="store_false", help="launch each GPU operator")
    motion = parser.add_argument_group("motion")
    motion.add_argument("--seed", type=int, help="decides head motion and blinks; same seed, same video [0]")
    motion.add_argument(
        "--emo",
        help="emotion: angry, disgust, fear, happy, neutral, sad, surprise, contempt, "
        "an index 0-7, several joined by commas, or parts as happy:0.7,surprise:0.3 [neutral]",
    )
    motion.add_argument("--fade_in", type=int, help="frames over which the motion grows out of the pose [-1: none]")
    motion.add_argument("--fade_out", type=int, help="frames over which it returns to the source pose [-1: none]")
    motion.add_argument("--sampling_timesteps", type=int, help="steps of a diffusion sampler, where the pack has one")
    motion.add_argument("--sampler", choices=("ddim", "dpm"), help="ddim as the reference; dpm needs only 10-15 steps")
    motion.add_argument("--overlap_v2", type=int, help="frames shared by neighbouring motion windows")
    motion.add_argument("--vad", action="store_true", help="rest the lips while nobody speaks (the embedded pack does)")
    motion.add_argument("--smo_k_d", type=int, help="smoothing of the generated head motion, frames")
    add_control_flags(parser)
    live = parser.add_argument_group("live speech")
    live.add_argument(
        "--online",
        dest="online_mode",
        action="store_true",
        help="take the speech in pieces as a live source delivers them, and say how long the first frame took",
    )
    live.add_argument("--offline", dest="online_mode", action="store_false", help="the opposite, for online packs")
    live.add_argument("--pace", action="store_true", help="let the pieces come at the speed of speech; count delays")
    live.add_argument(
        "--chunksize",
        type=int,
        nargs=3,
        metavar=("P", "C", "F"),
        help="past, current and future frames of a piece, as 3 5 2; the embedded encoder takes only C [its own]",
    )
    live.add_argument("--first_chunk", type=int, help="frames of the first piece, for an earlier start [as all others]")
    source = parser.add_argument_group("source")
    source.add_argument("--max_size", type=int, help="longest side of the source; larger ones are reduced [1920]")
    source.add_argument(
        "--template_n_frames", type=int, help="frames of a source video that are used [-1: as many as are rendered]"
    )
    source.add_argument("--smo_k_s", type=int, help="smoothing of a source video's own motion, frames")
    source.add_argument(
        "--no_resample",
        dest="resample",
        action="store_false",
        help="use a source video's frames one by one at 25 per second, whatever its own rate",
    )
    source.add_argument(
        "--no_cache", dest="cache", action="store_false", help="do not keep, nor use, what was found in a source before"
    )
    source.add_argument("--crop_scale", type=float, help="size of the face crop over the size of the face [2.3]")
    source.add_argument("--crop_vx_ratio", type=float, help="shift of the crop to the right, in crop sizes [0]")
    source.add_argument("--crop_vy_ratio", type=float, help="shift of the crop downwards, in crop sizes [-0.125]")
    add_video_flags(parser)
    many = parser.add_argument_group("many runs (docs/controls.md)")
    many.add_argument("--jobs", metavar="FILE", help=".csv or .yaml with source, audio, output and options of each run")
    many.add_argument("--workers", type=int, help="processes, spread over the GPUs that are there [one per GPU, or 1]")
    many.add_argument("--resume", action="store_true", help="leave out the jobs that are done")
    many.add_argument("--engine", choices=("processes", "ray"), help="ray: on several machines [processes]")
    many.add_argument("--address", help="of the Ray cluster [one on this machine]")
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
    sdk = StreamSDK(**pack_arguments(options))
    options = resolve_controls(options)
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
    jobs, log = read_jobs(path, options), DoneLog(path)
    todo = log.pending(jobs) if resume else jobs
    by_number, failed = {job.number: job for job in todo}, 0
    on_ray = engine == "ray"
    reports = run_on_ray(todo, workers or 0, load, address) if on_ray else run_in_processes(todo, workers or 0, load)
    for count, report in enumerate(reports, 1):
        if report.error:
            failed += 1
            print(f"error: job {report.number} ({report.output}): {report.error}", file=sys.stderr)
            continue
        log.add(by_number[report.number], report)
        if not quiet:
            print(f"{count}/{len(todo)} {report.output}: {report.frames} frames in {report.elapsed:.2f} s", flush=True)
    if not quiet:
        skipped = f", {len(jobs) - len(todo)} were done before" if len(todo) < len(jobs) else ""
        print(f"{len(todo) - failed} of {len(todo)} jobs done, {failed} failed{skipped}")
    return 1 if failed else 0


if __name__ == "__main__":
    leave(main())
