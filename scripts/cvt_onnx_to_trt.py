"""Build TensorRT engines from the ONNX files of the official `ditto_onnx` folder, for the GPU of this machine.

    pip install -e '.[trt]'
    python scripts/cvt_onnx_to_trt.py --onnx_dir checkpoints/ditto_onnx --trt_dir checkpoints/ditto_trt_custom
    python scripts/cvt_onnx_to_trt.py --onnx_dir D --trt_dir T --plan            # only say what would be built
    python scripts/cvt_onnx_to_trt.py --onnx_dir D --trt_dir T --nets decoder --force

TensorRT 10 and 11, no plugin. Engines that are there and still fit are left alone. Exit status: 0 all engines are
there, 1 some could not be built (the others were), 2 nothing could be done. See docs/tensorrt.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.backends.cuda_memory import open_gpu
from core.backends.engine_tag import (
    AMPERE,
    ANY_AMPERE,
    ONE_GPU,
    SAME_CAPABILITY,
    EngineTag,
    Gpu,
    fingerprint,
    write_tag,
)
from core.backends.tensorrt import package
from core.backends.tensorrt_build import BuildOptions, BuildOutOfMemory, build_engine
from core.cli.program import Parser, run_program, set_up_logging
from core.errors import DittoError, InputError, OutputError, PackError
from core.utils.whole_file import whole_file
from scripts.official.engines import Job, describe, find_jobs, largest_batch, settle


@dataclass(frozen=True)
class Line:
    """A line of the closing table."""

    name: str
    state: str
    text: str


def make_parser() -> Parser:
    """The options."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--onnx_dir", type=Path, required=True, help="folder with the .onnx files")
    add("--trt_dir", type=Path, required=True, help="folder for the engines")
    add("--nets", nargs="+", default=[], metavar="NET", help="names of files without .onnx (default: all)")
    add("--plan", action="store_true", help="say what would be built and stop; needs neither TensorRT nor a GPU")
    add("--force", action="store_true", help="build engines anew that are there and fit")
    add("--precision", choices=("reference", "fp16", "fp32"), default="reference", help="default: per network")
    add("--keep", nargs="+", default=[], metavar="PATTERN", help="nodes that stay in float32, e.g. '*dense_motion*'")
    add("--half", choices=("auto", "own", "autocast"), default="auto", help="who puts float16 into the graph")
    add("--batch", type=int, default=8, help="greatest batch of networks with a free batch axis (default 8)")
    add("--level", type=int, default=5, choices=range(6), help="TensorRT's optimisation level (default 5)")
    levels = ("auto", ONE_GPU, SAME_CAPABILITY, ANY_AMPERE)
    add("--compatibility", choices=levels, default="auto", help="auto: ampere_plus from compute capability 8.0 on")
    add("--timing_cache", type=Path, help="default: timing.cache in --trt_dir")
    add("--plugin", type=Path, help="library with GridSample3D to use instead of rewriting the operator")
    add(
        "--verify", action="store_true", help="run each graph beside its source in ONNX Runtime and show the difference"
    )
    add("--device", default="auto", help="GPU: auto, cuda:0, cuda:1, ...")
    return parser


def engine_options(job: Job, args: argparse.Namespace) -> dict[str, Any]:
    """What decides an engine besides source, TensorRT and GPU; noted beside it."""
    shapes = {name: [list(shape) for shape in triple] for name, triple in job.shapes.items()}
    more = {"keep": list(args.keep), "half": args.half} if job.precision == "fp16" else {}
    plugin = args.plugin.name if args.plugin else None
    return {"precision": job.precision, "level": args.level, "shapes": shapes, "plugin": plugin, **more}


def plan(args: argparse.Namespace) -> list[Line]:
    """What would be done, from the files alone; with TensorRT and a GPU also whether the engines there still fit."""
    try:
        version, gpu = package().__version__, open_gpu(args.device).gpu()
    except PackError:
        version, gpu = None, None
    lines = []
    for job in find_jobs(args.onnx_dir, args.trt_dir, args.nets, args.batch, args.precision):
        job = settle(job, engine_options(job, args), version, gpu, args.force)
        state = "problem" if job.problem else "keep" if job.done else "build"
        text = job.problem or f"{job.engine.name}  {job.precision}  {describe(job)}  ({job.reason})"
        lines.append(Line(job.name, state, text))
    return lines


def convert(args: argparse.Namespace) -> list[Line]:
    """Build what is missing or stale, one network after the other; a failure does not stop the rest.

    Raises PackError without TensorRT or GPU, InputError for the folder of sources, OutputError for that of engines.
    """
    trt, gpu = package(), open_gpu(args.device).gpu()
    try:
        import onnx  # noqa: F401  (asked for here: one line, not a failure per network)
    except ImportError as error:
        raise PackError("preparing the graphs needs the package onnx: pip install -e '.[trt]'") from error
    jobs = find_jobs(args.onnx_dir, args.trt_dir, args.nets, args.batch, args.precision)
    _make_folder(args.trt_dir)
    lines = []
    for job in jobs:
        job = settle(job, engine_options(job, args), trt.__version__, gpu, args.force)
        print(f"{job.name}: {job.problem or job.reason}", flush=True)
        if job.problem:
            lines.append(Line(job.name, "failed", job.problem))
        elif job.done:
            lines.append(Line(job.name, "kept", job.engine.name))
        else:
            lines.append(_built(trt, gpu, job, args))
    return lines


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: engines cannot be written there ({error.strerror or error})") from error


def _built(trt: Any, gpu: Gpu, job: Job, args: argparse.Namespace) -> Line:
    """Build one engine and write it with its note; what fails becomes a line."""
    from core.onnx_graph.prepare import prepare

    start = time.perf_counter()
    try:
        autocast = {"auto": None, "own": False, "autocast": True}[args.half]
        graph = prepare(job.source, job.precision, keep=args.keep, plugin=args.plugin is not None, autocast=autocast)
        remarks = [f"{job.precision}, {graph.half_nodes} of {graph.nodes} nodes in float16"]
        if graph.samplings:
            remarks.append(f"{graph.samplings} sampling(s) rewritten")
        if args.verify and args.plugin is None:
            from core.backends.onnx_compare import difference

            remarks.append(f"difference {difference(job.source, graph.content):.1e}")
        engine, batch = _engine(trt, graph.content, job, _build_options(gpu, args))
        if batch != largest_batch(job.shapes):
            remarks.append(f"batches of at most {batch}")
        _write(job, engine, trt.__version__, gpu, args)
    except (DittoError, OSError, RuntimeError, MemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"  failed: {text}", file=sys.stderr, flush=True)
        return Line(job.name, "failed", text)
    remarks.append(f"{len(engine) / 1e6:.1f} MB in {time.perf_counter() - start:.0f} s")
    return Line(job.name, "built", f"{job.engine.name}  {'; '.join(remarks)}")


def _engine(trt: Any, content: bytes, job: Job, options: BuildOptions) -> tuple[bytes, int]:
    """The engine and its largest batch, which is halved as long as the GPU has no room to build it."""
    shapes = dict(job.shapes)
    while True:
        batch = largest_batch(shapes)
        try:
            return build_engine(trt, content, shapes, options), batch
        except BuildOutOfMemory:
            if batch <= 1:
                raise
            print(f"  out of GPU memory with batches of {batch}; trying {batch // 2}", file=sys.stderr, flush=True)
            shapes = {
                name: (least, *((batch // 2, *shape[1:]) for shape in (usual, most)))
                for name, (least, usual, most) in shapes.items()
            }


def _compatibility(gpu: Gpu, args: argparse.Namespace) -> str:
    if args.compatibility != "auto":
        return args.compatibility
    return ANY_AMPERE if gpu.capability >= AMPERE else ONE_GPU


def _build_options(gpu: Gpu, args: argparse.Namespace) -> BuildOptions:
    cache = args.timing_cache or args.trt_dir / "timing.cache"
    return BuildOptions(args.level, _compatibility(gpu, args), cache, args.plugin)


def _write(job: Job, engine: bytes, version: str, gpu: Gpu, args: argparse.Namespace) -> None:
    """Engine and note, each complete or not at all. The note asks for the wanted shapes, not for a smaller batch."""
    size, digest = fingerprint(job.source)
    source = os.path.relpath(job.source, job.engine.parent)
    options = engine_options(job, args)
    tag = EngineTag(
        version, gpu.name, gpu.capability, _compatibility(gpu, args), source, size, digest, len(engine), options
    )
    with whole_file(job.engine) as part:
        part.write_bytes(engine)
    write_tag(job.engine, tag)


def table(lines: list[Line]) -> str:
    """The lines as a table, the failures counted below."""
    width = max(len(line.name) for line in lines)
    rows = [f"{line.name:{width}}  {line.state:7}  {line.text}" for line in lines]
    failed = sum(line.state in ("failed", "problem") for line in lines)
    return "\n".join([*rows, f"{len(lines)} networks, {failed} failed"])


def run(args: argparse.Namespace) -> int:
    """Plan or convert and print the table; returns the exit status. Raises DittoError when nothing could be done."""
    if args.batch < 1:
        raise InputError(f"--batch is {args.batch}; it must be at least 1")
    lines = plan(args) if args.plan else convert(args)
    print(table(lines))
    return 1 if any(line.state in ("failed", "problem") for line in lines) else 0


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = make_parser().parse(arguments)
    set_up_logging(verbose=True)
    return run_program(lambda: run(args), "interrupted; the engines that are there are complete")


if __name__ == "__main__":
    sys.exit(main())
