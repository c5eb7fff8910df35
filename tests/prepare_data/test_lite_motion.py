"""Motion of the embedded pack: what was put into a clip of meshes comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.lite.motion_space import LIP_SLOTS, LOWER_LIP, RIGID_SLOTS, UPPER_LIP, FaceSpace, mouth_width
from core.motion import EXP, PITCH, ROLL, SCALE, TRANSLATION, YAW, Motion, bins_to_degrees, rotation_matrix
from core.motion import transform_keypoints as place
from prepare_data.face_tracks import FaceTrack
from prepare_data.lite_motion import clip_motion, symmetric

FRAMES = 40


@pytest.fixture(scope="module")
def space():
    return FaceSpace.load(Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite" / "motion_space.npz")


@pytest.fixture(scope="module")
def clip(space):
    """Opening over mouth width, angles and meshes (pixels) of a face that opens its mouth while it turns."""
    time = np.arange(FRAMES)
    opening = 0.15 * (1 - np.cos(time / 3)) * (time > 5)
    angles = np.stack([4 * np.sin(time / 9), 8 * np.sin(time / 7), 3 * np.cos(time / 5)], axis=1)
    closed = space.source_keypoints(to_pixels(space.canonical * 0.6)).kp
    rotation = rotation_matrix(*angles.T)
    base = space.canonical - space.dense.T @ (space.canonical_keypoints - closed)
    mode = space.modes[0] * (np.arange(21)[:, None] == np.array(LIP_SLOTS)).any(axis=1)[:, None]
    mode = mode / (mode[LOWER_LIP, 1] - mode[UPPER_LIP, 1]) * mouth_width(closed)
    meshes = base + np.einsum("kv,nkc->nvc", space.dense, opening[:, None, None] * mode)
    meshes = 0.6 * (meshes @ rotation) + np.array([0.02, -0.03, 0.0])
    return opening, angles, np.stack([to_pixels(mesh) for mesh in meshes]).astype(np.float32)


def to_pixels(points):
    return (points + np.array([1, 1, 0])) * 256


def test_what_was_put_in_comes_out(space, clip):
    opening, angles, meshes = clip
    rows = clip_motion(FaceTrack(meshes, np.ones(FRAMES, bool)), space, 12)
    assert rows.shape == (FRAMES, 328) and rows.dtype == np.float32
    found = np.stack([bins_to_degrees(rows[:, part]) for part in (PITCH, YAW, ROLL)], axis=1)
    np.testing.assert_allclose(found - found[0], angles - angles[0], atol=0.3)
    np.testing.assert_allclose(rows[:, SCALE] + 1, 0.6, rtol=0.02)
    np.testing.assert_allclose(rows[:, TRANSLATION][:, :2], np.tile([0.02, -0.03], (FRAMES, 1)), atol=0.01)
    exp, kp = rows[:, EXP].reshape(-1, 21, 3), rows[0, 265:].reshape(21, 3)
    measured = (exp[:, LOWER_LIP, 1] - exp[:, UPPER_LIP, 1]) / mouth_width(kp)
    np.testing.assert_allclose(measured, opening, atol=0.01)
    assert (rows[:, 265:] == rows[0, 265:]).all() and not exp[:, list(RIGID_SLOTS)].any()


def test_rows_place_the_keypoints_where_the_mesh_has_them(space, clip):
    """The renderer's own formula, applied to the rows, gives back the tracked points."""
    _, _, meshes = clip
    rows = clip_motion(FaceTrack(meshes, np.ones(FRAMES, bool)), space, 12)
    points = place(Motion(rows[:, :265], rows[:, 265:]), exp_canonical=True)
    wanted = meshes[:, space.keypoints] / 256 - np.array([1, 1, 0])
    assert np.abs(points - wanted)[:, :, :2].max() < 0.02


def test_a_mirrored_clip_has_the_mirrored_pose_and_the_same_lips(space, clip):
    _, _, meshes = clip
    flipped = meshes[:, space.mirror] * np.array([-1, 1, 1], np.float32) + np.array([512, 0, 0], np.float32)
    plain = clip_motion(FaceTrack(meshes, np.ones(FRAMES, bool)), space, 12)
    mirrored = clip_motion(FaceTrack(flipped.astype(np.float32), np.ones(FRAMES, bool)), space, 12)
    np.testing.assert_allclose(bins_to_degrees(mirrored[:, YAW]), -bins_to_degrees(plain[:, YAW]), atol=0.2)
    np.testing.assert_allclose(bins_to_degrees(mirrored[:, PITCH]), bins_to_degrees(plain[:, PITCH]), atol=0.2)
    np.testing.assert_allclose(mirrored[:, EXP], plain[:, EXP], atol=0.01)


def test_accidents_are_bridged_when_short(space, clip):
    opening, _, meshes = clip
    broken = meshes.copy()
    broken[20:23, 13:15] += 300
    rows = clip_motion(FaceTrack(broken, np.ones(FRAMES, bool)), space, 3)
    exp = rows[:, EXP].reshape(-1, 21, 3)
    assert np.abs(exp).max() < 0.4
    with pytest.raises(InputError, match="cannot be read.*3 frames"):
        clip_motion(FaceTrack(broken, np.ones(FRAMES, bool)), space, 2)


def test_symmetric_expressions_stay_as_they_are():
    rng = np.random.default_rng(0)
    exp = symmetric(rng.normal(size=(3, 21, 3)).astype(np.float32))
    np.testing.assert_allclose(symmetric(exp), exp, atol=1e-7)
    assert np.abs(exp[:, 18, 0]).max() < 1e-7
