"""The pieces of the training scripts of the embedded pack that can go wrong silently."""

import importlib
import json
import signal
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

    from core.models.lmdm import Lmdm, LmdmSizes

    ridge, lips, lip_dit, phones = (script(name) for name in ("ridge", "lips", "lip_dit", "phones"))
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    projections = [ridge.Projection(normal(384), normal(384, size) / 20) for size in (200, 96)]
    linear = ridge.Linear(normal(11 * 201, 10) / 50, normal(10))
    space = lips.LipSpace(normal(33), normal(10, 33), normal(10) ** 2)
    events = phones.EventNet(97).eval()
    sizes = LmdmSizes(80, 10, 15, width=16, heads=1, feedforward=32, encoder_layers=1, decoder_layers=1)
    nets = [lip_dit.MeanMotion(Lmdm(sizes)).eval() for _ in range(2)]
    heard = partial(phones.probabilities, events, projections[1])
    linears = lips.Linears(projections[0], linear, [], {})
    return lips.Lips(space, linears, nets, heard, normal(10), normal(10)), projections[1], events


def test_exported_model_says_what_the_trained_one_does(script, tmp_path):
    pytest.importorskip("torch")
    export = script("motion_export").export
    lips, projection, events = random_lips(script)
    export(tmp_path / "model.onnx", lips, projection, events)
    features = np.random.default_rng(1).normal(size=(80, 385)).astype(np.float32)
    out = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["exp", "events"], {"features": features[None]})
    np.testing.assert_allclose(out[0].reshape(80, 21, 3), lips.exp(features), atol=0.02, rtol=0.01)
    np.testing.assert_allclose(out[1][0], lips.events(features), atol=0.01)


@pytest.fixture
def clips(script):
    """Two clips whose lips, while they speak, are 3 above what the regression says."""
    pytest.importorskip("torch")
    lip_dit, rng = script("lip_dit"), np.random.default_rng(0)
    told = [rng.normal(size=(300, 15)).astype(np.float32) for _ in range(2)]
    return [lip_dit.Clip(0, rows, rows[:, :10] + 3, np.arange(300) >= 100) for rows in told]


def test_training_recordings_go_from_clip_to_clip(script, clips, tmp_path, monkeypatch):
    lip_dit = script("lip_dit")
    for name, value in (("NOISE", 0.0), ("SHIFT", 0.0), ("RECORDINGS", 2), ("LENGTH", 400)):
        monkeypatch.setattr(lip_dit, name, value)
    lip_dit.write_recordings(clips, tmp_path, np.random.default_rng(1))
    records = json.loads((tmp_path / "list.json").read_text())
    assert [record["frame_num"] for record in records] == [480, 480]
    rows, motion = (np.load(records[0][name]) for name in ("aud", "mtn"))
    source = np.concatenate([clip.condition for clip in clips])
    where = np.array([np.abs(source - row).sum(axis=1).argmin() for row in rows])
    np.testing.assert_allclose(source[where], rows, atol=1e-6)
    lengths = np.diff(np.flatnonzero(np.r_[True, np.diff(where) != 1, True]))[:-1]  # the last one is cut
    assert lengths.min() >= 10 and lengths.max() <= 40
    assert {0, 1} == set(where // 300)
    silent = where % 300 < 90
    np.testing.assert_allclose(motion[silent], rows[silent, :10], atol=1e-6)
    voiced = where % 300 > 110
    np.testing.assert_allclose(motion[voiced], rows[voiced, :10] + 3, atol=1e-5)


def test_motion_network_learns_the_same_way_twice(script, clips, tmp_path, monkeypatch):
    import torch

    lip_dit = script("lip_dit")
    monkeypatch.setattr(lip_dit, "RECORDINGS", 1)
    monkeypatch.setattr(lip_dit, "LENGTH", 8 * 50)
    quick = {"batch_size": 8, "lr": 1e-2, "warmup_steps": 5, "ema_decay": 0.8, "latent_dim": 16}
    handler = signal.getsignal(signal.SIGINT)
    net, again = (lip_dit.train_network(clips, np.ones(10), tmp_path, 3, quick) for _ in range(2))
    assert signal.getsignal(signal.SIGINT) is handler  # Ctrl-C ends the program again
    rows = torch.from_numpy(np.stack([clip.condition[150:230] for clip in clips]))
    with torch.no_grad():
        found = net(rows)
        torch.testing.assert_close(found, again(rows), rtol=0, atol=0)
        still = torch.zeros(2, 80, 10)
        asked = net.network.predict(still, still[:, 0], rows, torch.full((2,), 999), torch.ones(2, dtype=torch.bool))
    torch.testing.assert_close(found, asked, rtol=1e-4, atol=1e-4)
    assert found.mean() > 1


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("frames", [3, 79, 80, 100, 101, 333])
def test_windows_are_joined_frame_by_frame(script, live, frames):
    pytest.importorskip("torch")
    rows = np.random.default_rng(0).normal(size=(frames, 2)).astype(np.float32)
    joined = script("lip_dit").in_windows(rows, lambda window: 2 * window, live)
    np.testing.assert_allclose(joined, 2 * rows, atol=1e-5)


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
