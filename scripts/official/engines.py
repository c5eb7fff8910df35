"""What cvt_onnx_to_trt.py has to do: for each ONNX file the engine, its precision and shapes, and whether it is there.

Reads the files' headers only and needs neither TensorRT nor a GPU (spec models.md 13.1, 13.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.backends.engine_tag import Gpu, fingerprint, read_tag
from core.backends.onnx_header import OnnxHeader, read_onnx_header
from core.backends.tensorrt_build import Range
from core.errors import InputError, PackError
from scripts.official.files import IO

FLOAT32_NETS = ("motion_extractor", "hubert", "wavlm", "lmdm")  # beginnings of names, as in the reference
LENGTHS = {  # samples: least, usual, greatest
    ("hubert", "input_values"): (3240, 6480, 12960),
    ("wavlm", "audio"): (1000, 320080, 320080),
}
SECOND_COPIES = {"warp_network_ori": "warp_network"}  # the same network again, with the standard operator


@dataclass(frozen=True)
class Job:
    """One engine. `problem` says why it cannot be built, `done` that it is there and up to date."""

    name: str
    source: Path
    engine: Path
    precision: str  # "fp16" or "fp32"
    shapes: dict[str, Range] = field(default_factory=dict)
    reason: str = "new"  # why it is built
    problem: str = ""
    done: bool = False


def find_jobs(
    onnx_dir: Path, trt_dir: Path, nets: Iterable[str] = (), batch: int = 1, precision: str = "reference"
) -> list[Job]:
    """The jobs of a folder, sorted by name.

    Args:
        nets: names of files without suffix; none for all.
        batch: greatest batch of networks whose first axis is free.
        precision: "fp16" or "fp32" for all, or "reference": float32 for FLOAT32_NETS.

    Raises InputError when the folder or one of `nets` is not there.
    """
    sources = {path.stem: path for path in sorted(onnx_dir.glob("*.onnx"))}
    if not sources:
        raise InputError(f"{onnx_dir}: there are no .onnx files; --onnx_dir takes the folder ditto_onnx")
    for copy, first in SECOND_COPIES.items():
        path = sources.pop(copy, None)
        if path is not None:
            sources.setdefault(first, path)
    unknown = [name for name in nets if name not in sources]
    if unknown:
        raise InputError(f"{onnx_dir}: no {', '.join(unknown)}; there are {', '.join(sources)}")
    return [_job(name, sources[name], trt_dir, batch, precision) for name in nets or sources]


def settle(job: Job, options: dict[str, Any], version: str | None, gpu: Gpu | None, force: bool) -> Job:
    """The job with `done` or `reason` set from what lies in the engine's folder.

    Args:
        options: what else decides the engine, as it is noted beside it.
        version, gpu: of this machine; None when unknown, e.g. in a dry run without TensorRT.
    """
    if job.problem or not job.engine.is_file():
        return job
    tag = read_tag(job.engine)
    if force or tag is None:
        return replace(job, reason="forced" if force else "nothing is known of the file that is there")
    reason = tag.stale(job.engine, version or tag.tensorrt, gpu)
    if not reason and (tag.source_size, tag.source_sha256) != fingerprint(job.source):
        reason = f"{job.source.name} has changed since it was built"
    if not reason and tag.options != options:
        reason = "it was built with other options"
    return replace(job, reason=reason) if reason else replace(job, reason="up to date", done=True)


def describe(job: Job) -> str:
    """Shapes in words: '1x3240 .. 1x6480 .. 1x12960'."""
    ranges = (" .. ".join("x".join(map(str, shape)) for shape in triple) for triple in job.shapes.values())
    return ", ".join(f"{name} {text}" for name, text in zip(job.shapes, ranges)) or "fixed"


def largest_batch(shapes: Mapping[str, Range]) -> int:
    """Greatest first axis of all inputs with free axes; 1 when there are none."""
    return max((most[0] for _, _, most in shapes.values()), default=1)


def _job(name: str, source: Path, trt_dir: Path, batch: int, precision: str) -> Job:
    if precision == "reference":
        precision = "fp32" if name.startswith(FLOAT32_NETS) else "fp16"
    engine = trt_dir / f"{name}_{precision}.engine"
    try:
        header = read_onnx_header(source)
        _check_ends(name, source, header)
        shapes = _ranges(name, source, header, batch)
    except PackError as error:
        return Job(name, source, engine, precision, problem=str(error))
    return Job(name, source, engine, precision, shapes)


def _check_ends(name: str, source: Path, header: OnnxHeader) -> None:
    """Raise PackError when a network of that name has other inputs and outputs than the published one."""
    if name not in IO:
        return
    for kind, wanted, found in zip(("inputs", "outputs"), IO[name], (header.inputs, header.outputs)):
        if not set(wanted.split()) <= set(found):
            raise PackError(
                f"{source}: expected {kind} {', '.join(wanted.split())}, found {', '.join(found)}; not the right model"
            )


def _ranges(name: str, source: Path, header: OnnxHeader, batch: int) -> dict[str, Range]:
    """Ranges of the inputs with free axes. Raises PackError for a free axis that is neither batch nor known."""
    ranges: dict[str, Range] = {}
    for entry, shape in header.shapes.items():
        if None not in shape:
            continue
        lengths = next((v for (net, key), v in LENGTHS.items() if name.startswith(net) and key == entry), None)
        if any(length is None for length in shape[1:]) and (lengths is None or len(shape) != 2):
            raise PackError(f"{source}: input '{entry}' has a free axis whose lengths are not known here")
        tail = [(n,) for n in lengths] if lengths else [shape[1:]] * 3
        heads = (1, batch, batch) if shape[0] is None and not lengths else (shape[0] or 1,) * 3
        ranges[entry] = tuple((head, *rest) for head, rest in zip(heads, tail))
    return ranges
