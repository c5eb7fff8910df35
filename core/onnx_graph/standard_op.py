"""Gives the custom operator GridSample3D its standard name, so that ONNX Runtime's CPU provider runs the file.

The official warp_network.onnx names it (spec models.md 13.3). Works on the bytes, since a plain installation has no
package `onnx`. GPUs need `core.onnx_graph.grid_sample` instead.
"""

from __future__ import annotations

from core.onnx_graph import wire

CUSTOM, STANDARD = "GridSample3D", "GridSample"


def standardise(data: bytes) -> bytes:
    """The model with every GridSample3D as GridSample, whose defaults are the same: linear, zeros, corners not aligned.

    Raises ValueError when an attribute asks for something else, or the bytes are no ONNX model.
    """
    view = memoryview(data)
    start, end = wire.graph_range(view)
    parts: list[bytes | memoryview] = []
    copied = start  # up to here `parts` has the graph
    for number, a, b in wire.fields(view, start, end):
        if number == wire.GRAPH_NODE and wire.text(view, a, b, wire.NODE_OP_TYPE) == CUSTOM:
            parts += [view[copied : _field_start(view, a, b - a)], wire.message(wire.GRAPH_NODE, _renamed(view, a, b))]
            copied = b
    graph = b"".join((*parts, view[copied:end]))
    head = view[: _field_start(view, start, end - start)]
    return b"".join((head, wire.message(wire.MODEL_GRAPH, graph), view[end:]))


def _field_start(view: memoryview, content: int, size: int) -> int:
    """Where the field begins whose `size` bytes of content lie at `content`; its number is below 16."""
    return content - len(wire.encode(size)) - 1


def _renamed(view: memoryview, start: int, end: int) -> bytes:
    """A node's message under the standard name and with no attributes."""
    out = []
    for number, a, b in wire.fields(view, start, end):
        if number == wire.NODE_ATTRIBUTE:
            _check_default(view, a, b)
        else:
            content = STANDARD.encode() if number == wire.NODE_OP_TYPE else bytes(view[a:b])
            out.append(wire.message(number, content))  # all other fields of a node are text
    return b"".join(out)


def _check_default(view: memoryview, start: int, end: int) -> None:
    """Accept an attribute that says what holds anyway, in the plugin's spelling or in ONNX's."""
    name, word = (wire.text(view, start, end, n) for n in (wire.ATTRIBUTE_NAME, wire.ATTRIBUTE_STRING))
    number = next((wire.varint(view, a)[0] for n, a, _ in wire.fields(view, start, end) if n == wire.ATTRIBUTE_INT), 0)
    if number or word not in ("", "bilinear", "linear", "zeros"):
        raise ValueError(f"its {CUSTOM} has {name} = {word or number}; only linear, zero-padded sampling is known here")
