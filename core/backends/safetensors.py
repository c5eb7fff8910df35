"""Reads .safetensors files without that package: a JSON header, then the bytes of every tensor."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LENGTH_BYTES = 8  # the file begins with the header's length, little endian


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """{name: tensor} of the file, mapped into memory where it lies.

    Raises ValueError for what does not follow the format, OSError when the file cannot be read.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > size - _LENGTH_BYTES:
            raise ValueError("truncated in its header, or not a safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not a table of tensors")
    header.pop("__metadata__", None)
    data = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)[_LENGTH_BYTES + length :]
    return {name: _tensor(name, entry, data) for name, entry in header.items()}


def _tensor(name: str, entry: Any, data: Tensor) -> Tensor:
    """The tensor that `entry` describes, a view of the bytes `data`."""
    try:
        kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        dtype = DTYPES[kind]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"tensor {name} is described in an unknown way") from None
    if not all(isinstance(value, int) and value >= 0 for value in (*shape, start, end)):
        raise ValueError(f"tensor {name} has a shape or place that is no number")
    if end > len(data):
        raise ValueError(f"truncated: tensor {name} ends beyond the file")
    if end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {name} has {end - start} bytes, which is not {kind} {list(shape)}")
    part = data[start:end]
    if part.data_ptr() % dtype.itemsize:  # the format promises alignment, but nothing enforces it
        part = part.clone()
    return part.view(dtype).reshape(shape)
