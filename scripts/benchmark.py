"""Measure this machine: tables on the terminal, JSON with --json FILE, a page with --markdown FILE.

    python scripts/benchmark.py                                     # embedded pack: end to end, start-up, render
    python scripts/benchmark.py --what memory                       # peak memory of one and of ten minutes of speech
    python scripts/benchmark.py --pack random --what e2e render networks --compare   # official networks, random weights
    python scripts/benchmark.py --what stages stream --json b.json --markdown docs/performance.md

--pack random makes a full-size pack with random weights (2 GB, needs the extra `export`), --pack small a thin one;
random weights give true times. --compare measures the plain eager path beside ours: same weights, same inputs.
With --json an existing file keeps its other tables, so that a page can be made of several runs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run from a checkout, without installing the project

from core.cli.program import Parser, run_program, set_up_logging
from core.errors import InputError
from core.settings.speed import PRECISIONS, Speed
from scripts.benchmarks import job, report

BEYOND = {"train": "scripts.benchmark_train", "live": "scripts.benchmark_live"}  # their own programs: rows(args)
WHAT = ("all", "e2e", "stages", "networks", "stream", "render", "memory", "lmdm", *BEYOND, "page")
MADE = ("random", "small")
NO_GPU = "No GPU was at hand when this page was made: the tables for GPUs were not run."


def build_parser() -> Parser:
    """All flags."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=["all"], help="all: e2e and render; page: nothing")
    parser.add_argument("--pack", default="ditto_lite", help="folder of a pack, random or small [the embedded one]")
    parser.add_argument("--source", type=Path, default=ROOT / "example" / "portrait.png")
    parser.add_argument("--audio", type=Path, default=ROOT / "example" / "speech.wav")
    parser.add_argument("--seconds", type=float, help="use only the beginning of the speech")
    parser.add_argument("--runs", type=int, default=3, help="repetitions; the median is shown")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="of networks; the largest in whole runs")
    parser.add_argument("--steps", type=int, help="sampler steps [50 for lmdm, else the pack's]")
    parser.add_argument("--sampler", choices=("ddim", "dpm"), help="sampler [the pack's]")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--precision", choices=PRECISIONS, help="of PyTorch packs")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--compare", action="store_true", help="measure the plain eager path as well (PyTorch packs)")
    parser.add_argument("--note", action="append", default=[], help="sentence for the page; may be given again")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--markdown", type=Path, help="write the page to this file as well")
    return parser


def speed_options(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of `core.settings.speed.Speed` that were given."""
    found = {"device": args.device, "precision": args.precision, "compile": args.compile or None}
    found["batch_size"] = max(args.batch) if max(args.batch) > 1 else None
    chosen = {name: value for name, value in found.items() if value is not None}
    Speed(**chosen)
    return chosen


def tables(args: argparse.Namespace, pack: str, audio: Path) -> dict[str, report.Rows]:
    """Title -> rows, in the order of `--what`."""
    speed = speed_options(args)
    options = {"sampling_timesteps": args.steps, "sampler": args.sampler}
    options = {name: value for name, value in options.items() if value is not None}
    one = job.Job(args.source.resolve(), audio.resolve(), pack, speed, options)
    made: dict[str, report.Rows] = {}
    for what in ("e2e", "render") if args.what == ["all"] else args.what:
        if what == "page":
            continue
        title = f"{what}, {_named('random' if what == 'lmdm' else args.pack)}{_details(speed, options)}"
        made[title] = measure(what, args, one)
        if args.compare and what in ("e2e", "stages", "render"):
            made[f"{title}, plain eager path"] = measure(what, args, replace(one, plain=True))
    return made


def measure(what: str, args: argparse.Namespace, one: job.Job) -> report.Rows:
    """Rows of one subject. Heavy libraries are imported for the subjects that need them."""
    if what in BEYOND:
        return _beyond(what)(args)
    if what == "networks":
        from scripts.benchmarks.networks import networks

        return networks(one.pack, one.speed, args.batch, args.runs, args.compare)
    if what == "lmdm":
        from scripts.benchmarks.lmdm import lmdm

        return lmdm(args.runs, args.steps or 50, args.sampler or "ddim", Speed(**one.speed))
    if what == "render":
        from scripts.benchmarks.render import render

        return render(one.source, one.audio, one.pack, one.speed, plain=one.plain)
    if what == "memory":
        return job.memory(one)
    if what == "stream" and one.pack != "ditto_lite":  # as the published online configuration
        one = replace(one, options={"overlap_v2": 70, **one.options})
    by_name = {"e2e": job.end_to_end, "all": job.end_to_end, "stages": job.stages, "stream": job.stream}
    return by_name[what](one, args.runs)


def run(args: argparse.Namespace) -> None:
    """Measure, print the page and write the files that are asked for. Raises DittoError."""
    if args.runs < 1 or min(args.batch) < 1:
        raise InputError("--runs and --batch start at 1")
    known = report.read(args.json) if args.json else {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        pack = make_pack(args.pack, folder)
        made = tables(args, pack, shortened(args.audio, args.seconds, folder))
    found = report.merge(known, {"environment": report.environment(), "tables": made})
    page = report.markdown(found, ([] if report.gpu_name() else [NO_GPU]) + args.note)
    print(page)
    for path, text in ((args.json, json.dumps(found, indent=2) + "\n"), (args.markdown, page)):
        if path:
            report.write(path, text)


def make_pack(name: str, folder: Path) -> str:
    """The pack to measure: as named, or made in `folder`."""
    if name not in MADE:
        return name
    try:
        from scripts.make_random_pack import make_pack as make
    except ImportError as error:
        raise InputError(f"--pack {name} needs the package {error.name}: pip install -e '.[export]'") from error
    make(folder / "pack", "pytorch", small=name == "small")
    return str(folder / "pack")


def shortened(audio: Path, seconds: float | None, folder: Path) -> Path:
    """The recording, or its beginning as a file in `folder`."""
    if seconds is None:
        return audio
    import soundfile

    from core.media import read_audio
    from core.motion import SAMPLE_RATE

    path = folder / "speech.wav"
    soundfile.write(path, read_audio(audio)[: int(seconds * SAMPLE_RATE)], SAMPLE_RATE)
    return path


def _beyond(what: str) -> Callable[[argparse.Namespace], report.Rows]:
    """`rows` of another benchmark script."""
    try:
        return importlib.import_module(BEYOND[what]).rows
    except ImportError as error:
        raise InputError(f"--what {what} needs {error.name or error}, which is not installed") from error


def _named(pack: str) -> str:
    kinds = {"ditto_lite": "embedded pack", "random": "random full-size networks", "small": "random thin networks"}
    return kinds.get(pack, f"pack {Path(pack).name}")


def _details(*groups: dict[str, Any]) -> str:
    return "".join(f", {name} {value}" for group in groups for name, value in group.items())


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = build_parser().parse(arguments)
    set_up_logging()
    return run_program(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
