"""Trilinear sampling of volumes in plain ONNX operators: no GridSample, no plugin.

TensorRT has no GridSample for volumes and ONNX Runtime's CUDA provider had none for years; both run gathers and
arithmetic. What the nodes compute is GridSample of ONNX opset 20 with mode linear (spec models.md 6.4, 13.3).

A border of zeros around the volume stands for everything outside, and coordinates are clipped to it. So no read needs
a mask, and all eight corners of a cell have the same index but for a constant. The volume is stored channels last: a
read fetches the channels of a voxel side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

KINDS = ("GridSample", "GridSample3D")
VOLUME_AXES = 5
LINEAR = ("linear", "bilinear", 0)  # ONNX from opset 20 on, before that, and the plugin
PADDINGS = {"zeros": "zeros", "border": "border", "reflection": "reflection", 0: "zeros", 1: "border", 2: "reflection"}
BEFORE, AFTER = 1, 2  # voxels of border on either side: the last cell begins on the first one behind the volume
MAX_INDEX = 2**31 - 1


@dataclass(frozen=True)
class Sampling:
    """What a node asks for."""

    linear: bool
    padding: str
    align_corners: bool


def expand_grid_samples(model: ModelProto, custom: bool = True) -> int:
    """Replace every sampling of a volume in the main graph by plain operators; returns how many there were.

    GridSample3D counts unless `custom` is False (which leaves it to a plugin), GridSample when its data has five axes.
    Needs opset 13 or later. The new nodes' names begin with that of the old one and contain "GridSample".

    Raises ValueError when a node asks for another mode than linear, for reflection, or the volume's size is free.
    """
    graph = model.graph
    if not any(node.op_type in KINDS for node in graph.node):
        return 0
    shapes = known_shapes(model)
    nodes, count = [], 0
    for node in graph.node:
        shape = shapes.get(node.input[0]) if node.op_type in KINDS else None
        if node.op_type == "GridSample3D" and not custom:
            nodes.append(node)
        elif node.op_type == "GridSample3D" or shape is not None and len(shape) == VOLUME_AXES:
            if shape is None or len(shape) != VOLUME_AXES or not all(shape[1:]):
                raise ValueError(f"node {node.name}: the size of the sampled volume is not fixed")
            nodes += _Expansion(graph, node, shape).nodes()
            count += 1
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return count


def known_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of the main graph, 0 for a free axis, as far as inference finds them.

    GridSample3D is looked at as GridSample, since inference stops at operators it does not know.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if not tensor.HasField("data_location") and np.prod(tensor.dims) > 1024:
            tensor.ClearField("raw_data")  # inference reads small tensors only, and has a limit of 2 GB
            tensor.ClearField("float_data")
    resolved: dict[str, tuple[int, ...]] = {}
    while True:  # once per custom node in a row: each result makes what follows known
        found = _inferred(copy)
        fresh = [node for node in copy.graph.node if node.op_type in KINDS and node.output[0] not in resolved]
        added = False
        for node in fresh:
            data, grid = (found.get(name) for name in node.input[:2])
            if data and grid and len(data) == len(grid) == VOLUME_AXES:
                shape = (*data[:2], *grid[1:4])
                resolved[node.output[0]] = shape
                dims = [length or None for length in shape]
                copy.graph.value_info.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, dims))
                added = True
        if not added:
            return found


def _inferred(model: ModelProto) -> dict[str, tuple[int, ...]]:
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            shapes[value.name] = tuple(axis.dim_value for axis in kind.shape.dim)
    return shapes


def sampling_of(node: NodeProto) -> Sampling:
    """A node's attributes, spelled the ONNX way or the plugin's. Raises ValueError for unknown values."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    values = {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
    mode = values.get("mode", values.get("interpolation_mode", "linear"))
    padding = values.get("padding_mode", "zeros")
    if padding not in PADDINGS:
        raise ValueError(f"node {node.name}: unknown padding_mode {padding}")
    return Sampling(mode in LINEAR, PADDINGS[padding], bool(values.get("align_corners", 0)))


class _Expansion:
    """The plain nodes for one node. Tensors on the way: coordinates (N, P), reads (N, P, C), with P = D'H'W'."""

    def __init__(self, graph: GraphProto, node: NodeProto, shape: tuple[int, ...]):
        self._graph, self._node, self._shape = graph, node, shape
        self._prefix = node.name or f"{node.output[0]}/GridSample"
        if "GridSample" not in self._prefix:
            self._prefix += "/GridSample"
        self._made: list[NodeProto] = []
        self._sampling = sampling_of(node)
        if not self._sampling.linear or self._sampling.padding == "reflection":
            raise ValueError(f"node {node.name}: only linear sampling with padding zeros or border can be rewritten")
        self._sides = tuple(length + BEFORE + AFTER for length in shape[2:])  # of the volume with its border
        if max(shape[0], 1) * np.prod(self._sides) > MAX_INDEX:
            raise ValueError(f"node {node.name}: a volume of {shape} is too large")

    def nodes(self) -> list[NodeProto]:
        """All nodes, in order; they read and write the tensors of the replaced one."""
        data, grid = self._node.input[:2]
        table = self._table(data)
        corners, weights = zip(*(self._axis(grid, i) for i in range(3)), strict=True)  # z, y, x
        depth, height, width = self._sides
        index = self._do("Add", self._do("Mul", corners[0], self._whole(height * width)), corners[2])
        index = self._do("Add", index, self._do("Mul", corners[1], self._whole(width)))
        index = self._do("Add", index, self._first_voxels(data, depth * height * width))
        total = ""
        for z, y, x in product((0, 1), repeat=3):
            place = self._do("Add", index, self._whole((z * height + y) * width + x)) if z + y + x else index
            share = self._do("Mul", self._do("Mul", weights[0][z], weights[1][y]), weights[2][x])
            share = self._do("Unsqueeze", share, self._whole([-1]))
            part = self._do("Mul", self._do("Gather", table, place, axis=0), share)
            total = self._do("Add", total, part) if total else part
        total = self._do("Transpose", total, perm=[0, 2, 1])
        size = self._do("Concat", self._whole([0, self._shape[1]]), self._slice_of_shape(grid, 1, 4), axis=0)
        self._do("Reshape", total, size, output=self._node.output[0])
        return self._made

    def _table(self, data: str) -> str:
        """(N, C, D, H, W) -> one row of C values per voxel of all volumes with their borders."""
        channels = self._shape[1]
        mode = "constant" if self._sampling.padding == "zeros" else "edge"
        border = [0, 0, *[BEFORE] * 3, 0, 0, *[AFTER] * 3]
        padded = self._do("Pad", data, self._whole(border), mode=mode)
        return self._do("Reshape", self._do("Transpose", padded, perm=[0, 2, 3, 4, 1]), self._whole([-1, channels]))

    def _axis(self, grid: str, axis: int) -> tuple[str, tuple[str, str]]:
        """Along one axis (0 is z): index of the lower corner, -1 for the border; weights of the lower and upper one."""
        size = self._shape[2 + axis]
        place = 2 - axis  # of this axis in a point (x, y, z)
        value = self._do("Slice", grid, self._whole([place]), self._whole([place + 1]), self._whole([-1]))
        value = self._do("Reshape", value, self._whole([0, -1]))
        value = self._do("Add", value, self._real(1))  # in the order of ONNX Runtime's kernel, so that rounding agrees
        if self._sampling.align_corners:
            value = self._do("Mul", self._do("Mul", value, self._real(0.5)), self._real(size - 1))
        else:
            value = self._do("Sub", self._do("Mul", value, self._real(size)), self._real(1))
            value = self._do("Mul", value, self._real(0.5))
        least, most = (-1, size) if self._sampling.padding == "zeros" else (0, size - 1)
        value = self._do("Clip", value, self._real(least), self._real(most))
        lower = self._do("Floor", value)
        upper_weight = self._do("Sub", value, lower)
        lower_weight = self._do("Sub", self._real(1), upper_weight)
        return self._do("Cast", lower, to=TensorProto.INT64), (lower_weight, upper_weight)

    def _first_voxels(self, data: str, voxels: int) -> str:
        """(N, 1) row of the table for the first voxel of each volume, behind its border; `voxels` with that."""
        _, height, width = self._sides
        border = (BEFORE * height + BEFORE) * width + BEFORE
        if self._shape[0]:
            return self._whole(np.arange(self._shape[0])[:, None] * voxels + border)
        count = self._do("Squeeze", self._slice_of_shape(data, 0, 1))
        rows = self._do("Mul", self._do("Range", self._whole(0), count, self._whole(1)), self._whole(voxels))
        return self._do("Unsqueeze", self._do("Add", rows, self._whole(border)), self._whole([1]))

    def _slice_of_shape(self, name: str, start: int, end: int) -> str:
        return self._do("Slice", self._do("Shape", name), self._whole([start]), self._whole([end]))

    def _whole(self, value: object) -> str:
        return self._constant(np.array(value, np.int64))

    def _real(self, value: float) -> str:
        return self._constant(np.array(value, np.float32))

    def _constant(self, value: np.ndarray) -> str:
        name = f"{self._prefix}/constant_{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _do(self, kind: str, *inputs: str, output: str = "", **attributes: AttributeProto) -> str:
        """Add a node; returns the name of its output."""
        name = f"{self._prefix}/{kind}_{len(self._made)}"
        output = output or f"{name}_out"
        self._made.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output
