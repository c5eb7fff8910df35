"""The pieces of the training scripts of the embedded pack that can go wrong silently."""

import importlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "ditto_lite"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    return importlib.import_module


def test_ridge_finds_a_linear_map(script):
    ridge = script("ridge")
    rng = np.random.default_rng(0)
    weights, offset = rng.normal(size=(6, 2)), np.array([1.0, -2.0])
    sums = [ridge.Moments(6, 2) for _ in range(3)]
    for group, x in zip(sums, rng.normal(size=(3, 50, 6))):
        group.add(x, x @ weights + offset)
    found = ridge.solve(sums, strength=1e-9)
    np.testing.assert_allclose(found.weights, weights, atol=1e-6)
    np.testing.assert_allclose(found.offset, offset, atol=1e-6)


def random_lips(script):
    """A lip model and an event network with random weights."""
    import torch

    ridge, lips, lip_net, phones = (script(name) for name in ("ridge", "lips", "lip_net", "phones"))
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    projections = [ridge.Projection(normal(384), normal(384, size) / 20) for size in (200, 96)]
    linear = ridge.Linear(normal(11 * 201, 10) / 50, normal(10))
    space = lips.LipSpace(normal(33), normal(10, 33), normal(10) ** 2)
    events = phones.EventNet(97).eval()
    nets = [lip_net.LipNet().eval() for _ in range(2)]
    heard = partial(phones.probabilities, events, projections[1])
    linears = lips.Linears(projections[0], linear, [], {})
    return lips.Lips(space, linears, nets, heard, normal(10), normal(10)), projections[1], events


@pytest.mark.parametrize("frames", [5, 80])
def test_exported_model_says_what_the_trained_one_does(script, tmp_path, frames):
    pytest.importorskip("torch")
    export = script("motion_export").export
    lips, projection, events = random_lips(script)
    export(tmp_path / "model.onnx", lips, projection, events)
    features = np.random.default_rng(1).normal(size=(frames, 385)).astype(np.float32)
    out = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["exp", "events"], {"features": features[None]})
    np.testing.assert_allclose(out[0].reshape(frames, 21, 3), lips.exp(features), atol=0.02, rtol=0.01)
    np.testing.assert_allclose(out[1][0], lips.events(features), atol=0.01)


def test_lip_network_learns_what_it_is_told(script):
    pytest.importorskip("torch")
    import torch

    lip_net = script("lip_net")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 15)).astype(np.float32)
    wanted = np.tanh(rows[:, :10] * rows[:, 10:11])
    clip = lip_net.Sequence80(0, rows, wanted, np.ones(400, bool))
    net, again = (lip_net.train_net([clip], np.ones(10), seed=3, steps=120) for _ in range(2))
    with torch.no_grad():
        found = net(torch.from_numpy(rows[None]))[0].numpy()
        np.testing.assert_array_equal(found, again(torch.from_numpy(rows[None]))[0].numpy())
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.2


def test_context_keeps_the_frame_in_the_middle(script):
    ridge = script("ridge")
    rows = ridge.with_context(np.arange(4.0)[:, None], 1)
    np.testing.assert_array_equal(rows, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]])


def test_every_closure_has_a_frame_of_its_own(script):
    pytest.importorskip("torch")
    phones = script("phones")
    labels = phones.phone_labels([("pau", 0, 0.1), ("b", 0.1, 0.115), ("ow", 0.115, 0.3), ("f", 0.3, 0.38)], 10)
    np.testing.assert_allclose(labels[:, phones.CLOSED], np.eye(10)[2], atol=1e-6)
    assert labels[8, phones.LIP_TEETH] == 1
    assert labels[5, phones.ROUNDED] == 1
    np.testing.assert_allclose(labels[:4, phones.SPEECH], [0, 0, 0.5, 1], atol=1e-6)


def test_mirror_map_matches_the_pack(script):
    fit = script("fit_motion_space")
    space = script("core.lite.motion_space")
    mesh = space.FaceSpace.load(SCRIPTS.parents[1] / "checkpoints" / "ditto_lite" / "motion_space.npz")
    np.testing.assert_array_equal(fit.mirror_map(mesh.canonical), mesh.mirror)
    np.testing.assert_allclose(fit.standard(3 * mesh.canonical + 5, mesh.mirror), mesh.canonical, atol=0.02)
