"""Turn a TensorFlow Lite face model into an ONNX graph, operator by operator (used by convert_face_models.py).

Inside the graph 4-D activations are NCHW; they are transposed at the input, at RESHAPE, CONCATENATION, STRIDED_SLICE
and at the outputs, so that inputs and outputs keep the layout of the original. Weights stay float16 as they are in the
original, followed by a Cast that onnxruntime folds at load time. Needs `onnx`, `tflite` and `flatbuffers`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tflite
from flatbuffers import flexbuffers
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
TENSOR_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}
NCHW_FROM_NHWC, NHWC_FROM_NCHW = [0, 3, 1, 2], [0, 2, 3, 1]


@dataclass
class Operator:
    """One TensorFlow Lite operator: tensor ids, its option table (raw) and the flexbuffer options of a custom one."""

    kind: str
    inputs: list[int]
    outputs: list[int]
    table: Any
    custom: dict[str, Any]

    def options(self, cls: type) -> Any:
        """The option table read as the flatbuffer class `cls`."""
        options = cls()
        options.Init(self.table.Bytes, self.table.Pos)
        return options


def convert(data: bytes, name: str) -> onnx.ModelProto:
    """Convert the bytes of a .tflite file. Raises ValueError for an operator or option that is not covered."""
    graph = GraphBuilder(tflite.Model.GetRootAs(data, 0))
    for operator in graph.operators():
        emit = EMITTERS.get(operator.kind)
        if emit is None:
            raise ValueError(f"operator {operator.kind} is not covered; known: {', '.join(sorted(EMITTERS))}")
        emit(graph, operator)
    return graph.finish(name)


class GraphBuilder:
    """Reads tensors of a TensorFlow Lite model and collects ONNX nodes. Tensor ids are those of the original."""

    def __init__(self, model: tflite.Model):
        self.model, self.source = model, model.Subgraphs(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.constants: dict[int, np.ndarray] = {}
        self.names = {int(i): self.source.Tensors(i).Name().decode() for i in self.source.InputsAsNumpy()}
        self.nchw: set[int] = set()

    def operators(self) -> list[Operator]:
        """All operators in execution order."""
        kinds = {value: key for key, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
        found = []
        for op in (self.source.Operators(i) for i in range(self.source.OperatorsLength())):
            code = self.model.OperatorCodes(op.OpcodeIndex())
            kind = kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            custom = {}
            if kind == "CUSTOM":
                kind = code.CustomCode().decode()
                custom = flexbuffers.Loads(op.CustomOptionsAsNumpy().tobytes()) if op.CustomOptionsLength() else {}
            found.append(
                Operator(kind, op.InputsAsNumpy().tolist(), op.OutputsAsNumpy().tolist(), op.BuiltinOptions(), custom)
            )
        return found

    def shape(self, tensor: int) -> list[int]:
        """Shape of a tensor in the original layout."""
        return self.source.Tensors(tensor).ShapeAsNumpy().tolist()

    def constant(self, tensor: int) -> np.ndarray:
        """Value of a constant tensor (float16 when it went through DEQUANTIZE)."""
        if tensor in self.constants:
            return self.constants[tensor]
        info = self.source.Tensors(tensor)
        raw = self.model.Buffers(info.Buffer()).DataAsNumpy().tobytes()
        return np.frombuffer(raw, TENSOR_DTYPES[info.Type()]).reshape(self.shape(tensor))

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Add an ONNX node with one output and return the output's name."""
        output = f"t{len(self.nodes)}_{kind.lower()}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, value: np.ndarray) -> str:
        """Add a constant; float16 ones get a Cast to float32."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.ascontiguousarray(value)
        return self.node("Cast", [name], to=TensorProto.FLOAT) if value.dtype == np.float16 else name

    def put(self, tensor: int, name: str, nchw: bool = False) -> None:
        """Say that the original's `tensor` is now `name`."""
        self.names[tensor] = name
        if nchw:
            self.nchw.add(tensor)

    def get(self, tensor: int, nchw: bool) -> str:
        """ONNX name of a tensor in the layout asked for (transposed if it is 4-D and in the other one)."""
        if tensor in self.constants:
            return self.weight(self.constants[tensor])
        name = self.names[tensor]
        if len(self.shape(tensor)) != 4 or (tensor in self.nchw) == nchw:
            return name
        return self.node("Transpose", [name], perm=NCHW_FROM_NHWC if nchw else NHWC_FROM_NCHW)

    def finish(self, name: str) -> onnx.ModelProto:
        """Close the graph with inputs and outputs named and laid out as in the original."""

        def describe(tensor: int) -> onnx.ValueInfoProto:
            label = self.source.Tensors(tensor).Name().decode()
            return helper.make_tensor_value_info(label, TensorProto.FLOAT, self.shape(tensor))

        inputs, outputs = self.source.InputsAsNumpy().tolist(), self.source.OutputsAsNumpy().tolist()
        ends = [describe(tensor) for tensor in outputs]
        for tensor, end in zip(outputs, ends, strict=True):
            self.nodes.append(helper.make_node("Identity", [self.get(tensor, nchw=False)], [end.name]))
        graph = helper.make_graph(
            self.nodes,
            name,
            [describe(tensor) for tensor in inputs],
            ends,
            [numpy_helper.from_array(value, key) for key, value in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tflite_to_onnx")
        model.ir_version = 9
        onnx.checker.check_model(model, full_check=True)
        return model


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: the smaller half first."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pads(graph: GraphBuilder, op: Operator, options: Any, kernel: tuple[int, int]) -> list[int]:
    if options.Padding() == tflite.Padding.VALID:
        return [0, 0, 0, 0]
    _, height, width, _ = graph.shape(op.inputs[0])
    top, bottom = same_padding(height, kernel[0], options.StrideH())
    left, right = same_padding(width, kernel[1], options.StrideW())
    return [top, left, bottom, right]


def _activate(graph: GraphBuilder, name: str, activation: int) -> str:
    if activation == tflite.ActivationFunctionType.NONE:
        return name
    if activation == tflite.ActivationFunctionType.RELU:
        return graph.node("Relu", [name])
    raise ValueError(f"fused activation {activation} is not covered")


def dequantize(graph: GraphBuilder, op: Operator) -> None:
    """A float16 constant: kept as it is, cast where it is used."""
    graph.constants[op.outputs[0]] = graph.constant(op.inputs[0])


def convolution(graph: GraphBuilder, op: Operator) -> None:
    """CONV_2D (weights OHWI) and DEPTHWISE_CONV_2D (weights 1HWC)."""
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    options = op.options(tflite.DepthwiseConv2DOptions if depthwise else tflite.Conv2DOptions)
    if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
        raise ValueError("dilated convolutions are not covered")
    weights = graph.constant(op.inputs[1])
    weights = weights.transpose([3, 0, 1, 2] if depthwise else NCHW_FROM_NHWC)
    kernel = weights.shape[2:]
    names = [graph.get(op.inputs[0], nchw=True), graph.weight(weights), graph.weight(graph.constant(op.inputs[2]))]
    out = graph.node(
        "Conv",
        names,
        group=len(weights) if depthwise else 1,
        kernel_shape=list(kernel),
        strides=[options.StrideH(), options.StrideW()],
        pads=_pads(graph, op, options, kernel),
    )
    graph.put(op.outputs[0], _activate(graph, out, options.FusedActivationFunction()), nchw=True)


def max_pool(graph: GraphBuilder, op: Operator) -> None:
    """MAX_POOL_2D."""
    options = op.options(tflite.Pool2DOptions)
    kernel = (options.FilterHeight(), options.FilterWidth())
    out = graph.node(
        "MaxPool",
        [graph.get(op.inputs[0], nchw=True)],
        kernel_shape=list(kernel),
        strides=[options.StrideH(), options.StrideW()],
        pads=_pads(graph, op, options, kernel),
    )
    graph.put(op.outputs[0], _activate(graph, out, options.FusedActivationFunction()), nchw=True)


def prelu(graph: GraphBuilder, op: Operator) -> None:
    """PRELU with one slope per channel, stored 1,1,c."""
    slope = graph.weight(graph.constant(op.inputs[1]).reshape(-1, 1, 1))
    graph.put(op.outputs[0], graph.node("PRelu", [graph.get(op.inputs[0], nchw=True), slope]), nchw=True)


def activation(graph: GraphBuilder, op: Operator) -> None:
    """RELU and LOGISTIC; a tensor that is no picture stays as it is laid out."""
    kind = {"RELU": "Relu", "LOGISTIC": "Sigmoid"}[op.kind]
    nchw = len(graph.shape(op.inputs[0])) == 4
    graph.put(op.outputs[0], graph.node(kind, [graph.get(op.inputs[0], nchw=nchw)]), nchw=nchw)


def arithmetic(graph: GraphBuilder, op: Operator) -> None:
    """ADD of two activations; MUL by a constant (never 4-D here)."""
    add = op.kind == "ADD"
    options = op.options(tflite.AddOptions if add else tflite.MulOptions)
    out = graph.node("Add" if add else "Mul", [graph.get(tensor, nchw=True) for tensor in op.inputs])
    nchw = len(graph.shape(op.outputs[0])) == 4
    graph.put(op.outputs[0], _activate(graph, out, options.FusedActivationFunction()), nchw=nchw)


def pad(graph: GraphBuilder, op: Operator) -> None:
    """PAD with zeros; rows of the table reordered to NCHW."""
    table = graph.constant(op.inputs[1])[NCHW_FROM_NHWC].astype(np.int64)
    names = [graph.get(op.inputs[0], nchw=True), graph.weight(table.T.reshape(-1))]
    graph.put(op.outputs[0], graph.node("Pad", names), nchw=True)


def reshape(graph: GraphBuilder, op: Operator) -> None:
    """RESHAPE, in the original layout."""
    shape = graph.weight(np.array(graph.shape(op.outputs[0]), np.int64))
    graph.put(op.outputs[0], graph.node("Reshape", [graph.get(op.inputs[0], nchw=False), shape]))


def concatenation(graph: GraphBuilder, op: Operator) -> None:
    """CONCATENATION, in the original layout."""
    names = [graph.get(tensor, nchw=False) for tensor in op.inputs]
    axis = op.options(tflite.ConcatenationOptions).Axis()
    graph.put(op.outputs[0], graph.node("Concat", names, axis=axis))


def strided_slice(graph: GraphBuilder, op: Operator) -> None:
    """STRIDED_SLICE that keeps everything (the only one in these models)."""
    if graph.shape(op.inputs[0]) != graph.shape(op.outputs[0]):
        raise ValueError("only a STRIDED_SLICE that keeps the whole tensor is covered")
    graph.put(op.outputs[0], graph.get(op.inputs[0], nchw=False))


def landmarks_to_matrix(graph: GraphBuilder, op: Operator) -> None:
    """Landmarks2TransformMatrix: the 4x4 matrix from output pixels to the rotated box of some landmarks."""
    options, height, width = op.custom, op.custom["output_height"], op.custom["output_width"]
    if options["target_rotation_radians"] != 0:
        raise ValueError("a target rotation is not covered")
    points = graph.node("Reshape", [graph.get(op.inputs[0], nchw=False), graph.weight(np.array([-1, 3]))])
    points = graph.node("Gather", [points, graph.weight(np.array([0, 1]))], axis=1)
    ends = [
        graph.node("Gather", [points, graph.weight(np.array([options[key]]))], axis=0)
        for key in ("right_rotation_idx", "left_rotation_idx")
    ]
    across = graph.node("Sub", ends)
    across = graph.node("Div", [across, graph.node("ReduceL2", [across], keepdims=1)])
    down = graph.node("MatMul", [across, graph.weight(np.array([[0, 1], [-1, 0]], np.float32))])
    rotation = graph.node("Concat", [across, down], axis=0)
    back = graph.node("Transpose", [rotation], perm=[1, 0])
    box = graph.node("Gather", [points, graph.weight(np.array(options["subset_idxs"]))], axis=0)
    box = graph.node("MatMul", [box, back])
    axis = graph.weight(np.array([0]))
    high, low = (graph.node(kind, [box, axis], keepdims=1) for kind in ("ReduceMax", "ReduceMin"))
    scale = np.array([[options["scale_x"] / width, options["scale_y"] / height]], np.float32)
    scale = graph.node("Mul", [graph.node("Sub", [high, low]), graph.weight(scale)])
    centre = graph.node("Mul", [graph.node("Add", [high, low]), graph.weight(np.array(0.5, np.float32))])
    centre = graph.node("Transpose", [graph.node("MatMul", [centre, rotation])], perm=[1, 0])
    linear = graph.node("Mul", [back, scale])
    corner = graph.node("MatMul", [linear, graph.weight(np.array([[-width / 2], [-height / 2]], np.float32))])
    columns = [linear, graph.weight(np.zeros((2, 1), np.float32)), graph.node("Add", [centre, corner])]
    rows = [graph.node("Concat", columns, axis=1), graph.weight(np.eye(4, dtype=np.float32)[2:])]
    matrix = graph.node("Concat", rows, axis=0)
    graph.put(op.outputs[0], graph.node("Reshape", [matrix, graph.weight(np.array([1, 4, 4]))]))


def _affine(graph: GraphBuilder, tensor: int) -> str:
    """(3, 2) transpose of the affine part [A|t] of a 4x4 matrix, to be multiplied by rows (x, y, 1)."""
    rows = graph.node("Reshape", [graph.get(tensor, nchw=False), graph.weight(np.array([4, 4]))])
    rows = graph.node("Gather", [rows, graph.weight(np.array([0, 1]))], axis=0)
    rows = graph.node("Gather", [rows, graph.weight(np.array([0, 1, 3]))], axis=1)
    return graph.node("Transpose", [rows], perm=[1, 0])


def transform_bilinear(graph: GraphBuilder, op: Operator) -> None:
    """TransformTensorBilinear: sample a feature map at matrix * (pixel centres of the output), zero outside."""
    height, width = op.custom["output_height"], op.custom["output_width"]
    _, source_height, source_width, _ = graph.shape(op.inputs[0])
    rows, columns = np.mgrid[:height, :width] + 0.5
    pixels = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(-1, 3).astype(np.float32)
    grid = graph.node("MatMul", [graph.weight(pixels), _affine(graph, op.inputs[1])])
    grid = graph.node("Mul", [grid, graph.weight(np.array([2 / source_width, 2 / source_height], np.float32))])
    grid = graph.node("Sub", [grid, graph.weight(np.array(1, np.float32))])
    grid = graph.node("Reshape", [grid, graph.weight(np.array([1, height, width, 2]))])
    out = graph.node(
        "GridSample", [graph.get(op.inputs[0], nchw=True), grid], mode="linear", padding_mode="zeros", align_corners=0
    )
    graph.put(op.outputs[0], out, nchw=True)


def transform_landmarks(graph: GraphBuilder, op: Operator) -> None:
    """TransformLandmarks: rows (x, y, 1) times the affine part of a matrix."""
    ones = graph.weight(np.ones((1, graph.shape(op.inputs[0])[1], 1), np.float32))
    points = graph.node("Concat", [graph.get(op.inputs[0], nchw=False), ones], axis=2)
    graph.put(op.outputs[0], graph.node("MatMul", [points, _affine(graph, op.inputs[1])]))


EMITTERS = {
    "DEQUANTIZE": dequantize,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": convolution,
    "MAX_POOL_2D": max_pool,
    "PRELU": prelu,
    "RELU": activation,
    "LOGISTIC": activation,
    "ADD": arithmetic,
    "MUL": arithmetic,
    "PAD": pad,
    "RESHAPE": reshape,
    "CONCATENATION": concatenation,
    "STRIDED_SLICE": strided_slice,
    "Landmarks2TransformMatrix": landmarks_to_matrix,
    "TransformTensorBilinear": transform_bilinear,
    "TransformLandmarks": transform_landmarks,
}
