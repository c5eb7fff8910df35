"""The protobuf wire format, as far as ONNX files need it: reading fields in place and writing them back.

It lets files be inspected, and single nodes replaced, without the package `onnx` and without decoding the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of fields
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
NODE_OP_TYPE, NODE_ATTRIBUTE = 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_STRING = 1, 3, 4
TENSOR_NAME, VALUE_NAME = 8, 1
VALUE_SHAPE = (2, 1, 2)  # type, tensor type, shape: messages within each other
SHAPE_AXIS, AXIS_LENGTH = 1, 1

Data = bytes | memoryview | mmap


def fields(data: Data, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number and content range of each field of the message data[start:end].

    Raises ValueError or IndexError for what does not follow the format.
    """
    while start < end:
        key, start = varint(data, start)
        kind, size = key & 7, 0
        if kind == VARINT:
            _, after = varint(data, start)
            size = after - start
        elif kind == BYTES:
            size, start = varint(data, start)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"unexpected byte at {start}")
        if start + size > end:
            raise ValueError(f"{start + size - end} bytes are missing")
        yield key >> 3, start, start + size
        start += size


def varint(data: Data, start: int) -> tuple[int, int]:
    """A base-128 number and the position behind it."""
    value = 0
    for i in range(10):
        byte = data[start + i]
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, start + i + 1
    raise ValueError(f"no number at {start}")


def graph_range(data: Data) -> tuple[int, int]:
    """Where the graph of a model lies. Raises ValueError when there is none."""
    found = next(((start, end) for field, start, end in fields(data, 0, len(data)) if field == MODEL_GRAPH), None)
    if found is None:
        raise ValueError("it holds no graph")
    return found


def text(data: Data, start: int, end: int, wanted: int) -> str:
    """The text in field `wanted` of the message data[start:end], or nothing."""
    return next((bytes(data[a:b]).decode() for field, a, b in fields(data, start, end) if field == wanted), "")


def shape(data: Data, start: int, end: int) -> tuple[int | None, ...]:
    """Shape in the description data[start:end] of an input or output; None for a free axis."""
    for wanted in VALUE_SHAPE:
        inner = next((bounds for field, *bounds in fields(data, start, end) if field == wanted), None)
        if inner is None:
            return ()
        start, end = inner
    axes = (bounds for field, *bounds in fields(data, start, end) if field == SHAPE_AXIS)
    return tuple(
        next((varint(data, a)[0] for field, a, _ in fields(data, *axis) if field == AXIS_LENGTH), None) for axis in axes
    )


def message(number: int, content: bytes) -> bytes:
    """A field of bytes: text or another message."""
    return encode((number << 3) | BYTES) + encode(len(content)) + content


def encode(value: int) -> bytes:
    """A non-negative number in base 128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
