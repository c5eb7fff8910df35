"""ONNX and TensorRT renderers: frames in a batch come out as one by one, sources are uploaded once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fake_tensorrt
from onnx import TensorProto, helper

from core.atomic_components.decode_f3d import DecodeBatchF3D
from core.atomic_components.warp_f3d import WarpBatchF3D
from core.avatars.avatar import Avatar, Frame
from core.backends.onnx import load_session
from core.backends.tensorrt import load_engine
from core.packs.session_renderer import SessionRenderer
from core.settings.speed import Speed

VOLUME, POINTS, WARPED, PICTURE = (2, 3, 4, 4), (21, 3), (2, 4, 4), (3, 4, 4)


def model(inputs: dict, outputs: dict, nodes: list, batch) -> bytes:
    """A graph with shapes by name, behind an axis `batch`."""
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, *shape)) for name, shape in io.items()]
        for io in (inputs, outputs)
    ]
    made = [helper.make_node(kind, given, [out], **attributes) for kind, given, out, attributes in nodes]
    graph = helper.make_graph(made, "g", *ends, [helper.make_tensor("axes", TensorProto.INT64, (1,), [2])])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def warp_graph(batch) -> bytes:
    """out = mean of the volume over its depth, times (1 + mean motion of the keypoints)."""
    nodes = [
        ("Sub", ["kp_driving", "kp_source"], "motion", {}),
        ("ReduceMean", ["motion"], "mean", {"axes": [1, 2]}),
        ("Exp", ["mean"], "factor", {}),
        ("Unsqueeze", ["factor", "axes"], "wide", {}),
        ("ReduceMean", ["feature_3d"], "flat", {"axes": [2], "keepdims": 0}),
        ("Mul", ["flat", "wide"], "out", {}),
    ]
    inputs = {"feature_3d": VOLUME, "kp_source": POINTS, "kp_driving": POINTS}
    return model(inputs, {"out": WARPED}, nodes, batch)


def decoder_graph(batch) -> bytes:
    """Both channels, and the first one again, as red, green and blue."""
    nodes = [
        ("Slice", ["feature", "zero", "one", "one"], "first", {}),
        ("Concat", ["feature", "first"], "output", {"axis": 1}),
    ]
    graph = onnx.ModelProto.FromString(model({"feature": WARPED}, {"output": PICTURE}, nodes, batch))
    for name, value in (("zero", 0), ("one", 1)):
        graph.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, (1,), [value]))
    graph.graph.node[0].input.insert(3, "one")
    return graph.SerializeToString()


@pytest.fixture
def trt(monkeypatch):
    return fake_tensorrt.install(monkeypatch, fake_tensorrt.make_trt())


def make(kind: str, folder: Path, batch, speed: Speed = Speed(), most: int = 4) -> SessionRenderer:
    """A renderer with graphs of a fixed or free ("n") batch; engines take at most `most` frames."""
    sessions = []
    for net, graph in (("warp_network", warp_graph(batch)), ("decoder", decoder_graph(batch))):
        if kind == "onnx":
            (folder / f"{net}.onnx").write_bytes(graph)
            sessions.append(load_session(folder / f"{net}.onnx"))
            continue
        ends = {value.name: value.type.tensor_type.shape.dim for value in onnx.ModelProto.FromString(graph).graph.input}
        tails = {name: [axis.dim_value for axis in shape[1:]] for name, shape in ends.items()}
        ranges = {name: [[1, *tail], [most, *tail], [most, *tail]] for name, tail in tails.items()}
        path = folder / f"{net}_fp16.engine"
        path.write_bytes(json.dumps(ranges if batch == "n" else {}).encode() + b"\n" + graph)
        sessions.append(load_engine(path, cuda_graphs=True))
    return SessionRenderer(None, *sessions, speed)


@pytest.fixture
def frames():
    """Features of two sources, x_s (7, 21, 3), x_d (7, 21, 3)."""
    rng = np.random.default_rng(0)
    features = [rng.random((1, *VOLUME), np.float32) for _ in range(2)]
    return features, rng.normal(size=(7, *POINTS)), rng.normal(size=(7, *POINTS))


def one_by_one(renderer, features, x_s, x_d) -> np.ndarray:
    rows = [slice(i, i + 1) for i in range(len(features))]
    return np.stack([renderer.decode(renderer.warp(f, x_s[r], x_d[r])) for f, r in zip(features, rows, strict=True)])


@pytest.mark.parametrize("kind", ["onnx", "trt"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_batch_gives_the_pictures_of_single_frames(kind, shared, frames, tmp_path, trt):
    features, x_s, x_d = frames
    chosen = [features[0] if shared else features[i % 2] for i in range(7)]
    renderer = make(kind, tmp_path, "n", Speed(batch_size=7), most=7)
    expected = one_by_one(renderer, chosen, x_s, x_d)
    assert renderer.batch.size == 7 and expected.shape == (7, 4, 4, 3) and expected.dtype == np.float32
    assert np.abs(np.diff(expected, axis=0)).max(axis=(1, 2, 3)).min() > 1  # seven different pictures
    for count in (7, 3, 7, 7, 1):  # a shape that comes again is recorded, and dropped at the next change
        pictures = list(renderer.batch.decode(renderer.batch.warp(chosen[:count], x_s[:count], x_d[:count])))
        np.testing.assert_allclose(np.stack(pictures), expected[:count], atol=1e-4 * 255)
        assert all(picture.flags.c_contiguous for picture in pictures)


def test_stages_of_a_batch(frames, tmp_path):
    features, x_s, x_d = frames
    renderer = make("onnx", tmp_path, "n", Speed(batch_size=4))
    avatar = Avatar.__new__(Avatar)
    object.__setattr__(avatar, "features", features)
    rows = [Frame(i, i % 2, x_s=x_s[i : i + 1], x_d=x_d[i : i + 1]) for i in range(4)]
    found = list(DecodeBatchF3D(renderer.batch.decode)(WarpBatchF3D(renderer.batch.warp, avatar)(rows)))
    expected = one_by_one(renderer, [features[i % 2] for i in range(4)], x_s[:4], x_d[:4])
    np.testing.assert_allclose([frame.face for frame in found], expected, atol=1e-4 * 255)


def test_batches_only_where_all_ends_are_free_and_asked_for(tmp_path, trt):
    assert make("onnx", tmp_path, "n").batch is None  # on the CPU they gain nothing
    assert make("onnx", tmp_path, "n", Speed(batch_size=5)).batch.size == 5
    assert make("onnx", tmp_path, 1, Speed(batch_size=5)).batch is None
    assert make("trt", tmp_path, "n").batch.size == 4  # the engine's limit, below the 8 of GPUs
    assert make("trt", tmp_path, "n", Speed(batch_size=2)).batch.size == 2
    assert make("trt", tmp_path, "n", Speed(batch_size=1)).batch is None
    assert make("trt", tmp_path, 1).batch is None


def test_a_source_is_uploaded_once(frames, tmp_path, trt):
    features, x_s, x_d = frames
    renderer = make("trt", tmp_path, "n")
    uploads, upload = [], renderer._warp.upload
    renderer._warp.upload = lambda array: (uploads.append(array.shape[0]), upload(array))[1]
    for _ in range(3):
        renderer.warp(features[0], x_s[:1], x_d[:1])
    for _ in range(3):
        renderer.warp_batch([features[0]] * 4, x_s[:4], x_d[:4])
    renderer.warp_batch([features[1]] * 4, x_s[:4], x_d[:4])
    assert uploads == [1, 4, 4]


def test_the_pack_hands_its_options_on(tmp_path):
    from core.packs.official import _renderer

    plain = make("onnx", tmp_path, "n")
    sessions = {"appearance_extractor_cfg": plain._warp, "warp_network_cfg": plain._warp, "decoder_cfg": plain._decoder}
    assert _renderer(sessions, Speed(batch_size=5)).batch.size == 5
