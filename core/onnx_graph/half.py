"""Mixed precision inside an ONNX graph: most of it in float16, the rest and the graph's ends in float32.

TensorRT 11 has no switch for it any more: an engine computes in the types that the graph names. The rules are those of
PyTorch's autocast, which the published PyTorch pack runs under (spec models.md 11): products of matrices and
convolutions are in float16; norms, softmax, sums and powers in float32; all else follows its inputs, the wider type
wins. So coordinates, which come from float32 inputs or out of a softmax, stay precise. As in the reference's conversion
the volumetric sampling is in float32 (13.3). What follows a norm may be float16 again, though autocast would not.

A tensor keeps its name for its float32 form; the float16 form of `x` is called `x/float16`. A cast is inserted where a
node needs the other form, once per tensor.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

PRODUCTS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"))
NORMS = frozenset(
    (
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization"),
        *("MeanVarianceNormalization", "LpNormalization", "BatchNormalization"),
    )
)
FLOAT32_KINDS = NORMS | frozenset(
    (
        *("GridSample", "GridSample3D", "Softmax", "LogSoftmax", "CumSum"),
        *("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd"),
        *("Exp", "Log", "Pow", "Reciprocal", "Sqrt", "Softplus", "Range", "Sin", "Cos"),
    )
)
FLOAT32_NAMES = ("*GridSample*",)  # patterns of node names; the rewritten sampling keeps that name
SUFFIX = "/float16"
LARGEST, SMALLEST = float(np.finfo(np.float16).max), float(np.finfo(np.float16).smallest_subnormal)


def to_half(model: ModelProto, keep: Iterable[str] = ()) -> list[str]:
    """Turn the main graph into mixed precision, in place; returns the names of the nodes that compute in float16.

    Args:
        keep: further patterns of node names that stay in float32, as in file names ("*dense_motion*").

    Inputs, outputs and subgraphs keep their types. A node also stays in float32 when a constant it reads is beyond
    float16 or when its operator has no float16 form.
    """
    return _Pass(model, (*FLOAT32_NAMES, *keep)).apply()


class _Pass:
    """One run over a model."""

    def __init__(self, model: ModelProto, patterns: tuple[str, ...]):
        self._model, self._patterns = model, patterns
        _constants_to_initializers(model)
        self._opsets = {entry.domain: entry.version for entry in model.opset_import}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._floats = _float_tensors(model)
        made = {name for node in model.graph.node for name in node.output}
        self._have = self._floats - made  # tensors whose float32 form exists by now
        self._halves: set[str] = set()  # tensors whose float16 form exists by now
        self._narrow: set[str] = set()  # tensors that need no more than float16, whatever form they exist in
        self._nodes: list[NodeProto] = []

    def apply(self) -> list[str]:
        """See to_half."""
        graph, chosen = self._model.graph, []
        for node in graph.node:
            places = self._half_places(node)
            if places is None:
                for name in (*node.input, *_captured(node)):
                    self._need_single(name)
                self._have |= self._floats & set(node.output)
                if node.op_type in NORMS and node.input[0] in self._narrow:
                    self._narrow.add(node.output[0])
                self._nodes.append(node)
            else:
                self._nodes.append(self._halved(node, *places))
                chosen.append(node.name)
        for value in graph.output:
            self._need_single(value.name)
        del graph.node[:]
        graph.node.extend(self._nodes)
        self._drop_unused()
        return chosen

    def _half_places(self, node: NodeProto) -> tuple[list[int], list[int]] | None:
        """Places of the inputs and outputs that become float16, or None when the node stays in float32."""
        if node.op_type in FLOAT32_KINDS or any(fnmatch.fnmatchcase(node.name, p) for p in self._patterns):
            return None
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            return None
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opsets[node.domain], node.domain)
        except (onnx.defs.SchemaError, KeyError):
            return None
        free = {c.type_param_str for c in schema.type_constraints if "tensor(float16)" in c.allowed_type_strs}
        takes, gives = (_kinds(schema.inputs, len(node.input)), _kinds(schema.outputs, len(node.output)))
        inputs = [i for i, name in enumerate(node.input) if takes[i] in free and name in self._floats]
        bound = {takes[i] for i in inputs}
        outputs = [i for i, name in enumerate(node.output) if gives[i] in bound and name in self._floats]
        fixed = [name for i, name in enumerate(node.output) if name in self._floats and i not in outputs]
        read = [node.input[i] for i in inputs]
        if not inputs or not outputs or fixed or not all(map(self._fits, read)):
            return None
        flowing = [name for name in read if name not in self._weights]
        follows = flowing and all(name in self._narrow for name in flowing)
        return (inputs, outputs) if follows or node.op_type in PRODUCTS else None

    def _fits(self, name: str) -> bool:
        """Whether a tensor is no constant or one that float16 can hold."""
        tensor = self._weights.get(name)
        if tensor is None:
            return True
        size = np.abs(numpy_helper.to_array(tensor))
        if not size.size:
            return True
        lost = size.size == 1 and 0 < size.max() < SMALLEST  # an epsilon that guards a division
        return bool(size.max() <= LARGEST) and not lost

    def _halved(self, node: NodeProto, inputs: list[int], outputs: list[int]) -> NodeProto:
        half = NodeProto()
        half.CopyFrom(node)
        for i in inputs:
            half.input[i] = self._need_half(node.input[i])
        for i in outputs:
            half.output[i] = node.output[i] + SUFFIX
            self._halves.add(node.output[i])
            self._narrow.add(node.output[i])
        return half

    def _need_half(self, name: str) -> str:
        """Name of the float16 form, which exists from now on."""
        half = name + SUFFIX
        if name not in self._halves:
            self._halves.add(name)
            tensor = self._weights.get(name)
            if tensor is None:
                self._cast(name, half, TensorProto.FLOAT16)
            else:
                array = numpy_helper.to_array(tensor).astype(np.float16)
                self._model.graph.initializer.append(numpy_helper.from_array(array, half))
        return half

    def _need_single(self, name: str) -> None:
        if name in self._halves and name not in self._have:
            self._have.add(name)
            self._cast(name + SUFFIX, name, TensorProto.FLOAT)

    def _cast(self, source: str, target: str, kind: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind))

    def _drop_unused(self) -> None:
        """Remove float32 weights that only their float16 copies replaced, and remarks on tensors that are gone."""
        graph = self._model.graph
        used = {name for node in graph.node for name in (*node.input, *_captured(node))}
        used |= {value.name for value in graph.output}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]


def _kinds(formal: Sequence[onnx.defs.OpSchema.FormalParameter], count: int) -> list[str]:
    """Type of each of `count` actual inputs or outputs; the last formal one stands for all that follow."""
    names = [parameter.type_str for parameter in formal]
    return [names[min(i, len(names) - 1)] for i in range(count)] if names else []


def _float_tensors(model: ModelProto) -> set[str]:
    """Names of all float32 tensors of the main graph. Custom operators are taken to give float32."""
    graph = shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _captured(node: NodeProto) -> set[str]:
    """Names that a node's subgraphs read, among them those from outside."""
    graphs = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    graphs += [g for a in node.attribute if a.type == AttributeProto.GRAPHS for g in a.graphs]
    names: set[str] = set()
    for graph in graphs:
        names |= {value.name for value in graph.output}
        names |= {name for inner in graph.node for name in (*inner.input, *_captured(inner))}
    return names


def _constants_to_initializers(model: ModelProto) -> None:
    """Constant nodes that hold a tensor become initializers, so that there is one place for weights."""
    graph, kept = model.graph, []
    for node in graph.node:
        tensors = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and tensors:
            tensors[0].name = node.output[0]
            graph.initializer.append(tensors[0])
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
