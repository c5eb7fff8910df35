"""Mixed precision in graphs: where float16 is, what stays, and that ONNX Runtime runs the result."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

from core.errors import PackError
from core.onnx_graph import prepare as preparing
from core.onnx_graph.half import to_half
from core.onnx_graph.prepare import prepare

RNG = np.random.default_rng(0)
FREE = ("i", "j", "k")


def weights(name, *shape, scale=1.0):
    return numpy_helper.from_array((RNG.normal(size=shape) * scale).astype(np.float32), name)


def model_of(nodes, initializers=(), inputs=(("x", (1, 4, 8)),), outputs=(("y", FREE),)):
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(
        [helper.make_node(*n[:3], name=n[2][0], **(n[3] if n[3:] else {})) for n in nodes], "g", *ends
    )
    graph.initializer.extend(initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model, **inputs):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def converted(model, **more):
    """(changed model, names of its nodes in float16), checked."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    chosen = to_half(copy, **more)
    onnx.checker.check_model(copy, full_check=True)
    return copy, set(chosen)


X = RNG.normal(size=(1, 4, 8)).astype(np.float32)


def test_products_are_half_and_all_else_follows():
    nodes = [
        ("Mul", ["x", "two"], ["scaled"]),  # of a float32 input: stays
        ("MatMul", ["scaled", "w"], ["a"]),
        ("Relu", ["a"], ["b"]),
        ("Softmax", ["b"], ["c"]),
        ("Mul", ["c", "two"], ["d"]),  # of something precise: stays
        ("Add", ["b", "d"], ["y"]),  # the wider type wins
    ]
    model = model_of(nodes, [weights("w", 8, 8), numpy_helper.from_array(np.float32(2), "two")])
    half, chosen = converted(model)
    assert chosen == {"a", "b"}
    np.testing.assert_allclose(run(half, x=X)[0], run(model, x=X)[0], atol=0.02)
    assert run(half, x=X)[0].dtype == np.float32
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert kinds == {"w/float16": TensorProto.FLOAT16, "two": TensorProto.FLOAT}
    assert sum(node.op_type == "Cast" for node in half.graph.node) == 2  # one per tensor and direction


def test_norms_compute_in_float32_between_halves():
    nodes = [
        ("MatMul", ["x", "w"], ["a"]),
        ("LayerNormalization", ["a", "s"], ["n"], {"axis": -1}),
        ("Relu", ["n"], ["b"]),
        ("MatMul", ["b", "w"], ["y"]),
    ]
    model = model_of(nodes, [weights("w", 8, 8), weights("s", 8)])
    half, chosen = converted(model)
    assert chosen == {"a", "b", "y"}
    np.testing.assert_allclose(run(half, x=X)[0], run(model, x=X)[0], atol=0.05)


def test_sampling_and_named_nodes_stay():
    nodes = [
        ("MatMul", ["x", "w"], ["dense/GridSample/part"]),
        ("MatMul", ["x", "w"], ["keep/me"]),
        ("MatMul", ["x", "w"], ["other"]),
        ("Sum", ["dense/GridSample/part", "keep/me", "other"], ["y"]),
    ]
    _, chosen = converted(model_of(nodes, [weights("w", 8, 8)]), keep=["keep/*"])
    assert chosen == {"other"}


@pytest.mark.parametrize("value, fits", [(6e4, True), (1e5, False), (1e-6, True), (1e-12, False), (0.0, True)])
def test_constants_beyond_float16_keep_their_node_precise(value, fits):
    nodes = [("MatMul", ["x", "w"], ["a"]), ("Max", ["a", "limit"], ["y"])]
    model = model_of(nodes, [weights("w", 8, 8), numpy_helper.from_array(np.float32(value), "limit")])
    half, chosen = converted(model)
    assert ("y" in chosen) == fits
    np.testing.assert_allclose(run(half, x=X)[0], run(model, x=X)[0], rtol=2e-3, atol=0.02)


def test_subgraphs_read_what_they_knew():
    """A branch reads a tensor of the main graph that is computed in float16."""
    branch = [
        helper.make_graph(
            [helper.make_node(kind, ["a"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, FREE)],
        )
        for kind, name in (("Relu", "yes"), ("Neg", "no"))
    ]
    nodes = [
        ("MatMul", ["x", "w"], ["a"]),
        ("ReduceSum", ["x"], ["total"], {"keepdims": 0}),
        ("Greater", ["total", "zero"], ["positive"]),
        ("If", ["positive"], ["y"], {"then_branch": branch[0], "else_branch": branch[1]}),
    ]
    model = model_of(nodes, [weights("w", 8, 8), numpy_helper.from_array(np.float32(0), "zero")])
    half, chosen = converted(model)
    assert chosen == {"a"}
    for x in (X, X - 9):
        np.testing.assert_allclose(run(half, x=x)[0], run(model, x=x)[0], atol=0.1)


def test_whole_numbers_and_scales_keep_their_types():
    nodes = [
        ("Conv", ["x", "k"], ["a"]),
        ("Shape", ["a"], ["shape"]),
        ("Reshape", ["a", "shape"], ["b"]),
        ("Resize", ["b", "", "scales"], ["y"], {"mode": "nearest"}),
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2], np.float32), "scales")
    model = model_of(nodes, [weights("k", 4, 4, 1), scales])
    half, chosen = converted(model)
    assert {"a", "b", "y"} <= chosen
    assert next(t for t in half.graph.initializer if t.name == "scales").data_type == TensorProto.FLOAT
    np.testing.assert_allclose(run(half, x=X)[0], run(model, x=X)[0], atol=0.02)


def test_an_output_that_is_read_again_and_constant_nodes():
    constant = helper.make_node("Constant", [], ["w"], value=weights("v", 8, 8))
    model = model_of([("MatMul", ["x", "w"], ["y"]), ("Relu", ["y"], ["z"])], outputs=(("y", FREE), ("z", FREE)))
    model.graph.node.insert(0, constant)
    half, chosen = converted(model)
    assert chosen == {"y", "z"}
    for found, wanted in zip(run(half, x=X), run(model, x=X)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=0.02)


def test_autocast_is_told_what_to_leave(tmp_path, monkeypatch, caplog):
    """With ModelOpt, whose package is replaced here by one that notes what it was asked."""
    path, asked = tmp_path / "m.onnx", {}
    onnx.save(model_of([("MatMul", ["x", "w"], ["a"]), ("Softmax", ["a"], ["y"])], [weights("w", 8, 8)]), path)

    def convert(onnx_path, **options):
        asked.update(options)
        if "broken" in asked:
            raise RuntimeError("no")
        return onnx.load(onnx_path)

    for name in ("modelopt", "modelopt.onnx", "modelopt.onnx.autocast"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["modelopt.onnx.autocast"].convert_to_mixed_precision = convert
    monkeypatch.setattr(preparing, "_has_autocast", lambda: True)
    assert prepare(path).half_nodes == 1
    assert asked == {"low_precision_type": "fp16", "nodes_to_exclude": ["^y$"], "keep_io_types": True}
    asked["broken"] = True
    content = prepare(path).content
    assert "taking the built-in pass" in caplog.text
    assert any(node.op_type == "Cast" for node in onnx.ModelProto.FromString(content).graph.node)
    assert prepare(path, "fp32").half_nodes == 0


def test_what_cannot_be_prepared_is_named(tmp_path):
    path = tmp_path / "warp_network.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(PackError, match="warp_network.onnx: cannot be prepared"):
        prepare(path)
