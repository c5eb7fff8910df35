"""Sampling in plain operators, and under the standard name, equals ONNX Runtime's GridSample and the golden network."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper

from core.backends.onnx_header import read_onnx_header
from core.onnx_graph.grid_sample import expand_grid_samples
from core.onnx_graph.standard_op import standardise

TOLERANCE = 1e-5
VOLUME, POINTS = (2, 3, 4, 6, 5), (2, 3, 5, 4, 3)


def model_of(op="GridSample", volume=VOLUME, points=POINTS, opset=20, **attributes):
    """A model that samples `data` at `grid`."""
    node = helper.make_node(op, ["data", "grid"], ["out"], name="/dense/GridSample", **attributes)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("data", volume), ("grid", points), ("out", (volume[0], volume[1], *points[1:4])))
    ]
    graph = helper.make_graph([node], "sampling", ends[:2], ends[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(model, **inputs):
    import onnxruntime as ort

    data = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def inputs_of(seed, volume=VOLUME, points=POINTS):
    """Random values; a third of the points each inside, on borders and corners, and far outside."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=volume).astype(np.float32)
    grid = rng.uniform(-1.1, 1.1, points).astype(np.float32).reshape(-1, 3)
    third = len(grid) // 3
    grid[:third] = rng.choice([-1, 1, 0, 1 - 1 / 5, -1 + 1 / 6, 1.2, -1.25], (third, 3))
    grid[third : third + third // 2] *= rng.choice([3, 100, 1e5], (third // 2, 1))
    return {"data": data, "grid": grid.reshape(points)}


def kinds(model):
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("seed", range(5))
def test_plain_operators_equal_the_standard_one(align, padding, seed):
    model = model_of(mode="linear", padding_mode=padding, align_corners=align)
    inputs = inputs_of(seed)
    wanted = run(model, **inputs)
    assert expand_grid_samples(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model).isdisjoint({"GridSample", "GridSample3D"})
    assert all("GridSample" in node.name for node in model.graph.node)
    np.testing.assert_allclose(run(model, **inputs), wanted, atol=TOLERANCE)


def test_infinity_is_outside():
    """Where ONNX Runtime's kernel reads a voxel; PyTorch gives zero as well."""
    model = model_of(mode="linear")
    expand_grid_samples(model)
    inputs = inputs_of(0)
    inputs["grid"][0, 0] = np.inf
    inputs["grid"][0, 1, :, :, 1] = -np.inf
    assert not run(model, **inputs)[0, :, :2].any()


def test_free_batch():
    free = model_of(volume=("n", *VOLUME[1:]), points=("n", *POINTS[1:]), mode="linear")
    for batch in (1, 2, 5):
        inputs = inputs_of(batch, (batch, *VOLUME[1:]), (batch, *POINTS[1:]))
        wanted = run(free, **inputs)
        plain = onnx.ModelProto.FromString(free.SerializeToString())
        expand_grid_samples(plain)
        np.testing.assert_allclose(run(plain, **inputs), wanted, atol=TOLERANCE)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"interpolation_mode": 0, "padding_mode": 0, "align_corners": 0},
        {"mode": "bilinear", "padding_mode": "zeros", "align_corners": 0},
    ],
)
def test_the_custom_operator_in_every_spelling(attributes):
    inputs = inputs_of(3)
    wanted = run(model_of(mode="linear"), **inputs)
    custom = model_of("GridSample3D", opset=17, **attributes)
    standard = standardise(custom.SerializeToString())
    parsed = onnx.ModelProto.FromString(standard)
    assert kinds(parsed) == {"GridSample"} and parsed.graph.node[0].name == "/dense/GridSample"
    np.testing.assert_allclose(run(standard, **inputs), wanted, atol=TOLERANCE)
    assert expand_grid_samples(custom) == 1
    np.testing.assert_allclose(run(custom, **inputs), wanted, atol=TOLERANCE)


def test_the_plugin_numbers_mean_what_they_say():
    inputs = inputs_of(4)
    wanted = run(model_of(mode="linear", padding_mode="border", align_corners=1), **inputs)
    custom = model_of("GridSample3D", opset=17, interpolation_mode=0, padding_mode=1, align_corners=1)
    with pytest.raises(ValueError, match="GridSample3D has (padding_mode|align_corners) = 1"):
        standardise(custom.SerializeToString())
    expand_grid_samples(custom)
    np.testing.assert_allclose(run(custom, **inputs), wanted, atol=TOLERANCE)


def test_one_custom_operator_behind_another():
    """The shape of the second is known through the first only."""
    first = helper.make_node("GridSample3D", ["data", "grid"], ["between"], name="a/GridSample")
    second = helper.make_node("GridSample3D", ["between", "grid"], ["out"], name="b/GridSample")
    model = model_of("GridSample3D", opset=17)
    del model.graph.node[:]
    model.graph.node.extend([first, second])
    inputs = inputs_of(6)
    wanted = run(standardise(model.SerializeToString()), **inputs)
    assert expand_grid_samples(model) == 2
    np.testing.assert_allclose(run(model, **inputs), wanted, atol=TOLERANCE)


def test_what_cannot_be_rewritten_is_named():
    with pytest.raises(ValueError, match="/dense/GridSample: only linear"):
        expand_grid_samples(model_of(mode="nearest"))
    with pytest.raises(ValueError, match="only linear"):
        expand_grid_samples(model_of(mode="linear", padding_mode="reflection"))
    with pytest.raises(ValueError, match="size of the sampled volume is not fixed"):
        expand_grid_samples(model_of(volume=(1, 2, "d", 4, 4), points=(1, 2, 2, 2, 3), mode="linear"))


def test_pictures_are_left_alone():
    model = model_of(volume=(1, 2, 5, 6), points=(1, 3, 4, 2), mode="linear")
    assert expand_grid_samples(model) == 0 and kinds(model) == {"GridSample"}


def test_bytes_that_are_no_model():
    for data in (b"", b"\x08\x07", b"\x3a\xff\x01a", bytes(range(200, 256))):
        with pytest.raises((ValueError, IndexError)):
            standardise(data)


def test_header_is_read_from_the_bytes(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(model_of("GridSample3D", volume=("n", *VOLUME[1:])), path)
    header = read_onnx_header(path)
    assert (header.inputs, header.outputs, header.operators) == (("data", "grid"), ("out",), {"GridSample3D"})
    assert header.shapes == {"data": (None, *VOLUME[1:]), "grid": POINTS}
