"""The pieces of the training scripts of the embedded pack that can go wrong silently."""

import importlib
import sys
from pathlib import Path

import numpy as np
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
    pairs = [(x, x @ weights + offset) for x in rng.normal(size=(3, 50, 6))]
    found, bias = ridge.fit_ridge(pairs, strength=1e-9)
    np.testing.assert_allclose(found, weights, atol=1e-6)
    np.testing.assert_allclose(bias, offset, atol=1e-6)


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
