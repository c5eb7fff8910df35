"""Write the trained lip model and event network as one ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from ridge import CONTEXT, QUIET, WIDTH

from core.lite.motion_space import LIP_SLOTS

OPSET = 17


class Graph:
    """Collects nodes and float16 weights (a Cast makes them float32 when the model is loaded)."""

    def __init__(self) -> None:
        self.nodes, self.weights = [], []

    def constant(self, array: np.ndarray, half: bool = True) -> str:
        """Store a constant and return its name."""
        name = f"w{len(self.weights)}"
        if not half or array.dtype == np.int64:
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
            return name
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float16), name))
        return self.node("Cast", name, to=TensorProto.FLOAT)

    def node(self, kind: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Add a node and return the name of its output."""
        output = output or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **options))
        return output

    def floats(self, array: np.ndarray) -> str:
        """A float32 constant."""
        return self.constant(np.asarray(array, np.float32), half=False)


def export(path: Path, lips: Any, projection: Any, events: Any) -> None:
    """Write `features` (1, T, 385) -> `exp` (1, T, 63) and `events` (1, T, 4), ends repeated."""
    graph = Graph()
    columns = [
        graph.node("Slice", "features", *(graph.constant(np.array([v])) for v in (a, b, 2)))
        for a, b in ((0, WIDTH), (WIDTH, WIDTH + 1))
    ]
    energy = graph.node("Add", graph.node("Max", columns[1], graph.floats([QUIET])), graph.floats([3.0]))
    rows = [
        _project(graph, columns[0], energy, part, pad) for part, pad in ((lips.projection, CONTEXT), (projection, 3))
    ]
    _lips(graph, rows[0], lips)
    _events(graph, rows[1], events)
    io = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "frames", size])
        for name, size in (("features", WIDTH + 1), ("exp", 63), ("events", 4))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "audio2motion", io[:1], io[1:], graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _project(graph: Graph, encoder: str, energy: str, projection: Any, pad: int) -> str:
    centred = graph.node("Sub", encoder, graph.floats(projection.mean))
    z = graph.node("Concat", graph.node("MatMul", centred, graph.floats(projection.basis)), energy, axis=2)
    channels = graph.node("Transpose", z, perm=[0, 2, 1])
    return graph.node("Pad", channels, graph.constant(np.array([0, 0, pad, 0, 0, pad])), mode="edge")


def _lips(graph: Graph, rows: str, lips: Any) -> None:
    """All linear steps after the projection folded into one convolution onto the 63 numbers."""
    basis = np.zeros((len(lips.basis), 21, 3))
    mean = np.zeros((21, 3))
    basis[:, list(LIP_SLOTS)] = lips.basis.reshape(len(lips.basis), -1, 3)
    mean[list(LIP_SLOTS)] = lips.mean.reshape(-1, 3)
    full = basis.reshape(len(basis), 63)
    kernel = (lips.weights * lips.gain).reshape(2 * CONTEXT + 1, -1, len(full))
    bias = ((lips.offset - lips.centre) * lips.gain + lips.centre) @ full + mean.reshape(63)
    hidden = graph.node("Conv", rows, graph.floats(kernel.transpose(2, 1, 0)))
    out = graph.node("MatMul", graph.node("Transpose", hidden, perm=[0, 2, 1]), graph.floats(full))
    graph.node("Add", out, graph.floats(bias), output="exp")


def _events(graph: Graph, rows: str, events: Any) -> None:
    x = rows
    for layer in (events.first, events.second, events.last):
        weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
        x = graph.node("Conv", x, graph.constant(weight), graph.floats(bias))
        if layer is not events.last:
            x = graph.node("Relu", x)
    graph.node("Transpose", graph.node("Sigmoid", x), output="events", perm=[0, 2, 1])
