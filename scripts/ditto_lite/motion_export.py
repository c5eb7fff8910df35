"""Write the trained lip model, regression and networks, and the event network as one ONNX graph."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from lip_dit import FRAMES, INPUTS, MeanMotion
from lips import EVENT_SCALE, LEAST_PROBABILITY, LIP, SHARE
from onnx import TensorProto, helper, numpy_helper
from ridge import CONTEXT, QUIET, WIDTH

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
    """Write `features` (1, 80, 385) -> `exp` (1, 80, 63) and `events` (1, 80, 4)."""
    graph = Graph()
    columns = [
        graph.node("Slice", "features", *(graph.constant(np.array([v])) for v in (a, b, 2)))
        for a, b in ((0, WIDTH), (WIDTH, WIDTH + 1))
    ]
    energy = graph.node("Add", graph.node("Max", columns[1], graph.floats([QUIET])), graph.floats([3.0]))
    z = _project(graph, columns[0], energy, lips.linears.projection)
    heard = _events(graph, _channels(graph, _project(graph, columns[0], energy, projection), 3), events)
    linear = _linear(graph, _channels(graph, z, CONTEXT), lips.linears.whole)
    rows = _condition(graph, linear, heard, energy)
    nets = graph.node("Sum", *(_mean_motion(graph, rows, net) for net in lips.nets))
    nets = graph.node("Mul", nets, graph.floats([SHARE / len(lips.nets)]))
    mixed = graph.node("Add", graph.node("Mul", linear, graph.floats([1 - SHARE])), nets)
    _keypoints(graph, mixed, lips)
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, FRAMES, size])
        for name, size in (("features", WIDTH + 1), ("exp", 63), ("events", 4))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "audio2motion", tensors[:1], tensors[1:], graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _project(graph: Graph, encoder: str, energy: str, projection: Any) -> str:
    centred = graph.node("Sub", encoder, graph.floats(projection.mean))
    return graph.node("Concat", graph.node("MatMul", centred, graph.floats(projection.basis)), energy, axis=2)


def _channels(graph: Graph, rows: str, pad: int) -> str:
    """(1, T, k) -> (1, k, pad + T + pad), the ends repeated."""
    channels = graph.node("Transpose", rows, perm=[0, 2, 1])
    return graph.node("Pad", channels, graph.constant(np.array([0, 0, pad, 0, 0, pad])), mode="edge")


def _linear(graph: Graph, channels: str, linear: Any) -> str:
    """The ridge regression over the context as one convolution."""
    kernel = linear.weights.reshape(2 * CONTEXT + 1, -1, linear.weights.shape[1])
    hidden = graph.node("Conv", channels, graph.floats(kernel.transpose(2, 1, 0)), graph.floats(linear.offset))
    return graph.node("Transpose", hidden, perm=[0, 2, 1])


def _condition(graph: Graph, linear: str, heard: str, energy: str) -> str:
    """`lips.condition` in the graph."""
    p = graph.node("Clip", heard, graph.floats(LEAST_PROBABILITY), graph.floats(1 - LEAST_PROBABILITY))
    odds = graph.node("Log", graph.node("Div", p, graph.node("Sub", graph.floats([1.0]), p)))
    return graph.node("Concat", linear, graph.node("Div", odds, graph.floats([EVENT_SCALE])), energy, axis=2)


def _mean_motion(graph: Graph, rows: str, network: MeanMotion) -> str:
    """A trained network: (1, 80, 15) -> (1, 80, 10)."""
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # constants that come from shapes are meant, shapes are fixed
        example = (torch.zeros(1, FRAMES, INPUTS),)
        names = {"input_names": ["rows"], "output_names": ["lips"]}
        torch.onnx.export(network, example, file, opset_version=OPSET, dynamo=False, **names)
    model = onnx.load_from_string(file.getvalue())
    part = onnx.compose.add_prefix(model, f"net{len(graph.nodes)}_").graph
    graph.node("Identity", rows, output=part.input[0].name)
    graph.nodes.extend(part.node)
    graph.weights.extend(part.initializer)
    return part.output[0].name


def _keypoints(graph: Graph, components: str, lips: Any) -> None:
    """Components with their gain as the 63 numbers of the expression."""
    matrix, mean = np.zeros((len(lips.space.basis), 21, 3)), np.zeros((21, 3))
    matrix[:, LIP] = (lips.space.basis * lips.space.scale[:, None]).reshape(len(matrix), -1, 3)
    mean[LIP] = lips.space.mean.reshape(-1, 3)
    matrix = matrix.reshape(-1, 63)
    out = graph.node("MatMul", components, graph.floats(lips.gain[:, None] * matrix))
    graph.node("Add", out, graph.floats((lips.centre * (1 - lips.gain)) @ matrix + mean.reshape(63)), output="exp")


def _events(graph: Graph, x: str, events: Any) -> str:
    for layer in (events.first, events.second, events.last):
        x = _conv(graph, x, layer)
        if layer is not events.last:
            x = graph.node("Relu", x)
    return graph.node("Transpose", graph.node("Sigmoid", x), output="events", perm=[0, 2, 1])


def _conv(graph: Graph, x: str, layer: Any) -> str:
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    return graph.node("Conv", x, graph.constant(weight), graph.floats(bias), dilations=list(layer.dilation))
