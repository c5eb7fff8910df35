"""Names of an ONNX file's inputs and outputs, read without loading its weights and without any ONNX library.

An ONNX file is a protobuf message; only the field numbers that are needed here are named. This also reads files that
ONNX Runtime cannot run, such as warp_network.onnx with its custom operator (spec models.md 13.3).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike

from core.errors import PackError

MODEL_GRAPH = 7
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 5, 11, 12
TENSOR_NAME, VALUE_NAME = 8, 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class OnnxHeader:
    """Names of the graph's inputs (without weights) and outputs, in their order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_onnx_header(path: str | PathLike[str]) -> OnnxHeader:
    """Header of an ONNX file of any size. Raises PackError when the file is missing, truncated or something else."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(data)
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, IndexError) as error:
        raise PackError(f"{path}: is truncated or not an ONNX model ({error}); download it again") from error


def _header(data: mmap.mmap) -> OnnxHeader:
    graph = next(((start, end) for field, start, end in _fields(data, 0, len(data)) if field == MODEL_GRAPH), None)
    if graph is None:
        raise ValueError("it holds no graph")
    names: dict[int, list[str]] = {GRAPH_INITIALIZER: [], GRAPH_INPUT: [], GRAPH_OUTPUT: []}
    for field, start, end in _fields(data, *graph):
        if field in names:
            names[field].append(_name(data, start, end, TENSOR_NAME if field == GRAPH_INITIALIZER else VALUE_NAME))
    weights = set(names[GRAPH_INITIALIZER])  # old exporters list them as inputs as well
    inputs = tuple(name for name in names[GRAPH_INPUT] if name not in weights)
    if not inputs or not names[GRAPH_OUTPUT]:
        raise ValueError("its graph has no inputs or no outputs")
    return OnnxHeader(inputs, tuple(names[GRAPH_OUTPUT]))


def _name(data: mmap.mmap, start: int, end: int, wanted: int) -> str:
    """The text in field `wanted` of the message data[start:end]."""
    return next((data[a:b].decode() for field, a, b in _fields(data, start, end) if field == wanted), "")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number and content range of each field of the message data[start:end]."""
    while start < end:
        key, start = _varint(data, start)
        kind, size = key & 7, 0
        if kind == VARINT:
            _, after = _varint(data, start)
            size = after - start
        elif kind == BYTES:
            size, start = _varint(data, start)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"unexpected byte at {start}")
        if start + size > end:
            raise ValueError(f"{start + size - end} bytes are missing")
        yield key >> 3, start, start + size
        start += size


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """A base-128 number and the position behind it."""
    value = 0
    for i in range(10):
        byte = data[start + i]
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, start + i + 1
    raise ValueError(f"no number at {start}")
