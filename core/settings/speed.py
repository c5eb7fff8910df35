"""How the networks of a pack are run: device, precision, compilation, batches. Knows no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from core.errors import InputError

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
MOST_FRAMES = 64  # per batch
FRAMES_ON_GPU = 8  # per batch, unless told otherwise


@dataclass(frozen=True)
class Speed:
    """Options of loading. Besides rounding in half precision they change nothing of what is computed.

    Attributes:
        device: "auto" (a GPU if the backend can use one), "cpu", "cuda" or "cuda:1"; None: as the configuration says.
        precision: "fp32", "fp16", "bf16", or "auto": fp16 on a GPU, fp32 on the CPU. Stitching and motion generation,
            which cost next to nothing, stay in fp32.
        compile: run the PyTorch networks through torch.compile, which takes minutes once.
        cuda_graphs: on a GPU, record networks of PyTorch and TensorRT as CUDA graphs and replay those.
        batch_size: frames that warp and decode take at once where that many wait; 0: 8 on a GPU, else 1. ONNX and
            TensorRT networks take several only where they were exported with a free batch.

    Raises InputError for a value that is none of these.
    """

    device: str | None = None
    precision: str = "auto"
    compile: bool = False
    cuda_graphs: bool = True
    batch_size: int = 0

    def __post_init__(self) -> None:
        if self.device is not None and not (isinstance(self.device, str) and DEVICE.fullmatch(self.device)):
            raise InputError(f"option 'device' is {self.device!r}; it must be auto, cpu, cuda or cuda:0, cuda:1, ...")
        if self.precision not in PRECISIONS:
            raise InputError(f"option 'precision' is {self.precision!r}; it must be {', '.join(PRECISIONS)}")
        for name in ("compile", "cuda_graphs"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"option '{name}' is {getattr(self, name)!r}; it must be True or False")
        whole = isinstance(self.batch_size, int) and not isinstance(self.batch_size, bool)
        if not whole or not 0 <= self.batch_size <= MOST_FRAMES:
            raise InputError(f"option 'batch_size' is {self.batch_size!r}; it must be 0 (automatic) .. {MOST_FRAMES}")

    def frames_at_once(self, on_gpu: bool) -> int:
        """Most frames that warp and decode take in one call."""
        return self.batch_size or (FRAMES_ON_GPU if on_gpu else 1)


def split_speed(options: Mapping[str, Any]) -> tuple[Speed, dict[str, Any]]:
    """Take the names of Speed out of keyword arguments: the Speed that they make, and the rest."""
    names = {field.name for field in fields(Speed)}
    mine = {name: value for name, value in options.items() if name in names}
    return Speed(**mine), {name: value for name, value in options.items() if name not in names}
