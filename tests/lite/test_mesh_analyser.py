"""The embedded pack's view of a video: what belongs to the person, and what the mouth is doing."""

from __future__ import annotations

import numpy as np
import pytest

from core.lite.analyser import MeshAnalyser
from core.lite.face_tracker import FaceTracker
from core.lite.motion_space import LIP_SLOTS, FaceSpace
from core.motion import MOTION_DIM, Motion, keypoint_mask, transform_keypoints
from core.packs.pack import EMBEDDED


@pytest.fixture(scope="module")
def analyser():
    return MeshAnalyser(FaceTracker.load(EMBEDDED), FaceSpace.load(EMBEDDED / "motion_space.npz"))


def test_what_the_mouth_does_moves_from_kp_to_exp(analyser):
    n, rng = 80, np.random.default_rng(0)
    own = rng.normal(size=63).astype(np.float32)
    speech = (0.1 * np.sin(2 * np.pi * np.arange(n) / 10))[:, None].astype(np.float32) * np.ones(63, np.float32)
    data = np.zeros((n, MOTION_DIM), np.float32)
    data[:, -63:] = 0.3 * rng.normal(size=(n, 63)) * keypoint_mask(LIP_SLOTS)
    before = Motion(data, own + speech)
    after = analyser.settle(before)
    lips = keypoint_mask(LIP_SLOTS) > 0
    assert np.ptp(after.kp[:, lips], axis=0).max() < 0.03 and np.abs(after.kp[:, lips] - own[lips]).max() < 0.05
    np.testing.assert_array_equal(after.kp[:, ~lips], before.kp[:, ~lips])
    wanted, got = (transform_keypoints(motion, exp_canonical=True) for motion in (before, after))
    np.testing.assert_allclose(got, wanted, atol=1e-5)  # the frames look as they did
    np.testing.assert_array_equal(before.data, data)


def test_a_mesh_that_jumps_is_searched_for_again(analyser, monkeypatch):
    tracker = analyser._tracker
    mesh = np.random.default_rng(0).uniform(100, 200, (478, 3)).astype(np.float32)
    searches = []
    monkeypatch.setattr(tracker, "static", lambda rgb: searches.append(1) or ([], 0.0))
    frame = np.zeros((300, 300, 3), np.uint8)
    for found, calls in ((mesh + 5, 0), (mesh + 70, 1), (150 + (mesh - 150) * 2, 2)):
        monkeypatch.setattr(tracker, "_mesh", lambda rgb, roi, found=found: (found.astype(np.float32), 0.99))
        assert (tracker.track(frame, mesh) is None) == (calls > 0) and len(searches) == calls
