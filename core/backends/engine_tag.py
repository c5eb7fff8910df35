"""The note beside an engine file that says what it was built with, and whether it still fits.

`decoder_fp16.engine` has `decoder_fp16.engine.json`. TensorRT itself refuses engines of another version or GPU, but its
message does not say which file to rebuild how, and nothing in an engine tells that its ONNX file has changed since.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from core.utils.whole_file import whole_file

SUFFIX = ".json"
ANY_AMPERE, SAME_CAPABILITY, ONE_GPU = "ampere_plus", "same_compute_capability", "none"  # compatibility levels
AMPERE = (8, 0)


@dataclass(frozen=True)
class Gpu:
    """A GPU by name and compute capability."""

    name: str
    capability: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.capability[0]}.{self.capability[1]})"


@dataclass(frozen=True)
class EngineTag:
    """What an engine was built from and for."""

    tensorrt: str  # version
    gpu: str  # name
    capability: tuple[int, int]  # compute capability of that GPU
    compatibility: str  # hardware compatibility level: one of the three above
    source: str  # ONNX file, relative to the engine's folder
    source_size: int  # bytes
    source_sha256: str
    engine_size: int  # bytes; tells whether engine and note belong together
    options: dict[str, Any] = field(default_factory=dict)  # precision, shapes, what else decides the result

    def stale(self, engine: Path, version: str, gpu: Gpu | None) -> str:
        """Why the engine cannot be used with this TensorRT on this GPU (None: unknown), or nothing."""
        if engine.stat().st_size != self.engine_size:
            return "the note beside it is of another engine (old and new files are mixed)"
        if version != self.tensorrt:
            return f"it was built with TensorRT {self.tensorrt}, installed is {version}"
        if gpu is not None and not self._fits(gpu):
            return f"it was built for {Gpu(self.gpu, self.capability)}, here is {gpu}"
        source = engine.parent / self.source
        if source.is_file() and fingerprint(source) != (self.source_size, self.source_sha256):
            return f"{source.name} has changed since it was built"
        return ""

    def _fits(self, gpu: Gpu) -> bool:
        if self.compatibility == ANY_AMPERE:
            return gpu.capability >= AMPERE
        same = gpu.capability == self.capability
        return same and (self.compatibility == SAME_CAPABILITY or gpu.name == self.gpu)

    def rebuild(self, engine: Path) -> str:
        """The command that builds the engine anew."""
        folder = os.path.normpath(engine.parent / Path(self.source).parent)
        return (
            f"python scripts/cvt_onnx_to_trt.py --onnx_dir {folder} --trt_dir {engine.parent} "
            f"--nets {Path(self.source).stem} --force"
        )


def tag_path(engine: Path) -> Path:
    """Where the note of an engine lies."""
    return engine.with_name(engine.name + SUFFIX)


def read_tag(engine: Path) -> EngineTag | None:
    """The note beside an engine, or None when there is none that can be read; a foreign engine may still load."""
    try:
        content = json.loads(tag_path(engine).read_text(encoding="utf-8"))
        values = {entry.name: content[entry.name] for entry in fields(EngineTag)}
        values["capability"] = tuple(int(number) for number in values["capability"])
        return EngineTag(**values)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_tag(engine: Path, tag: EngineTag) -> None:
    """Write the note. Raises OSError."""
    with whole_file(tag_path(engine)) as part:
        part.write_text(json.dumps(asdict(tag), indent=2) + "\n", encoding="utf-8")


def fingerprint(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return path.stat().st_size, digest.hexdigest()
