"""Names of an ONNX file's inputs and outputs, read without loading its weights and without any ONNX library.

This also reads files that ONNX Runtime cannot run, such as warp_network.onnx with its custom operator (spec models.md
13.3).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from os import PathLike

from core.errors import PackError
from core.onnx_graph import wire


@dataclass(frozen=True)
class OnnxHeader:
    """Names of the graph's inputs (without weights) and outputs in their order, and the kinds of its nodes.

    `shapes` are those of the inputs, with None for a free axis.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: frozenset[str]
    shapes: dict[str, tuple[int | None, ...]]


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
    names: dict[int, list[str]] = {wire.GRAPH_INITIALIZER: [], wire.GRAPH_INPUT: [], wire.GRAPH_OUTPUT: []}
    names[wire.GRAPH_NODE] = []
    shapes: dict[str, tuple[int | None, ...]] = {}
    place = {wire.GRAPH_INITIALIZER: wire.TENSOR_NAME, wire.GRAPH_NODE: wire.NODE_OP_TYPE}
    for field, start, end in wire.fields(data, *wire.graph_range(data)):
        if field in names:
            names[field].append(wire.text(data, start, end, place.get(field, wire.VALUE_NAME)))
        if field == wire.GRAPH_INPUT:
            shapes[names[field][-1]] = wire.shape(data, start, end)
    weights = set(names[wire.GRAPH_INITIALIZER])  # old exporters list them as inputs as well
    inputs = tuple(name for name in names[wire.GRAPH_INPUT] if name not in weights)
    if not inputs or not names[wire.GRAPH_OUTPUT]:
        raise ValueError("its graph has no inputs or no outputs")
    shapes = {name: shapes[name] for name in inputs}
    return OnnxHeader(inputs, tuple(names[wire.GRAPH_OUTPUT]), frozenset(names[wire.GRAPH_NODE]), shapes)
