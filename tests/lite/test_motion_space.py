"""The explicit motion space: its arrays, poses, and what a source face is split into."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import PackError
from core.lite.motion_space import (
    EYE_SLOTS,
    LID_PAIRS,
    LIP_CONTACTS,
    LIP_SLOTS,
    LOWER_LIP,
    MIRROR_SLOTS,
    RIGID,
    SLOT_VERTICES,
    UPPER_LIP,
    FaceSpace,
    angles_from_rotation,
    blink_array,
    mouth_width,
    normalise_mesh,
    pose_from_points,
    unpose,
)
from core.motion import rotation_matrix, transform_keypoints

PACK = Path(__file__).parents[2] / "checkpoints" / "ditto_lite"
FLIP = np.array([-1, 1, 1])
LIPS = [
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
]


@pytest.fixture(scope="module")
def space() -> FaceSpace:
    return FaceSpace.load(PACK / "motion_space.npz")


@pytest.fixture
def open_mesh(space) -> np.ndarray:
    """A turned face with a lopsided smile and an open mouth, in crop pixels."""
    rng = np.random.default_rng(1)
    move = space.modes[0] * 0.15 + space.modes[1] * 0.1 + rng.normal(0, 0.003, (21, 3))
    face = space.canonical + space.dense.T @ move
    return (face @ rotation_matrix(6.0, -11.0, 4.0)[0] * 190 + [250, 270, 5]).astype(np.float32)


def test_arrays_are_symmetric(space):
    assert np.array_equal(space.mirror[space.mirror], np.arange(478))
    np.testing.assert_allclose(space.canonical[space.mirror] * FLIP, space.canonical, atol=1e-5)
    slots = list(MIRROR_SLOTS)
    assert [space.mirror[SLOT_VERTICES[s]] for s in slots] == list(SLOT_VERTICES)
    np.testing.assert_allclose(space.dense[slots][:, space.mirror], space.dense, atol=1e-4)
    np.testing.assert_allclose(space.modes[:, slots] * FLIP, space.modes, atol=1e-5)


def test_eye_corners_are_one_apart(space):
    assert np.linalg.norm(space.canonical[33] - space.canonical[263]) == pytest.approx(1, abs=1e-4)


def test_dense_map_reproduces_the_keypoints(space):
    np.testing.assert_allclose(space.dense[:, list(SLOT_VERTICES)], np.eye(21), atol=0.01)


def test_fit_agrees_with_an_earlier_one(space, golden):
    earlier = golden("lite_space.npz")
    assert np.array_equal(space.mirror, earlier["mirror"])
    assert np.abs(space.canonical - earlier["canonical"]).max() < 0.05
    assert np.abs(space.dense[:, LIPS] - earlier["lips"]).mean() < 0.04
    assert np.abs(space.modes[0] - earlier["modes"][0])[list(LIP_SLOTS)].max() < 0.15


@pytest.mark.parametrize("angles", [(0, 0, 0), (12, -25, 7), (-20, 30, -40)])
def test_pose_round_trip(space, angles):
    mesh = 1.7 * space.canonical @ rotation_matrix(*angles)[0] + [0.3, -0.2, 0.1]
    scale, rotation, t = space.pose(mesh)
    assert scale == pytest.approx(1.7, abs=1e-5)
    np.testing.assert_allclose(t, [0.3, -0.2, 0.1], atol=1e-5)
    np.testing.assert_allclose(angles_from_rotation(rotation), angles, atol=1e-3)
    np.testing.assert_allclose(unpose(mesh, scale, rotation, t), space.canonical, atol=1e-5)


def test_positive_pitch_lowers_the_head(space):
    nodded = space.canonical @ rotation_matrix(10.0, 0.0, 0.0)[0]
    assert nodded[4, 1] > space.canonical[4, 1]


def test_poses_of_many_meshes_at_once(space):
    rng = np.random.default_rng(0)
    meshes = space.canonical + rng.normal(0, 0.01, (3, 478, 3))
    together = space.pose(meshes)
    for i in range(3):
        for whole, single in zip(together, space.pose(meshes[i])):
            np.testing.assert_allclose(whole[i], single, atol=1e-9)


def test_pose_is_never_a_reflection(space):
    mirrored = space.canonical[list(RIGID)] * FLIP + np.random.default_rng(0).normal(0, 0.1, (len(RIGID), 3))
    _, rotation, _ = pose_from_points(mirrored, space.canonical[list(RIGID)])
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_source_face_reproduces_the_picture(space, open_mesh):
    source = space.source_keypoints(open_mesh)
    placed = transform_keypoints(source.motion, exp_canonical=True)[0]
    np.testing.assert_allclose(placed[:, :2], normalise_mesh(open_mesh)[space.keypoints, :2], atol=1e-5)


def test_source_lips_are_closed_all_along(space, open_mesh):
    source = space.source_keypoints(open_mesh)
    assert source.opening > 0.1
    assert abs(source.kp[LOWER_LIP, 1] - source.kp[UPPER_LIP, 1]) < 1e-3
    closed = space.unpose(open_mesh) - space.dense.T @ source.exp
    upper, lower = np.array(LIP_CONTACTS).T
    before = space.unpose(open_mesh)
    gaps = np.abs(closed[lower, 1] - closed[upper, 1]) / mouth_width(source.kp)
    assert gaps.max() < 0.02 < np.abs(before[lower, 1] - before[upper, 1]).max()


def test_only_lips_move_to_close_the_mouth(space, open_mesh):
    source = space.source_keypoints(open_mesh)
    rest = np.setdiff1d(np.arange(21), LIP_SLOTS)
    assert not source.exp[rest].any()


def test_closed_mouth_is_left_alone(space):
    move = space.modes[0] * -0.17
    source = space.source_keypoints(((space.canonical + space.dense.T @ move) * 190 + 256).astype(np.float32))
    assert source.opening == 0
    assert not source.exp.any()


def test_blink_shuts_the_lids_of_this_face_and_nothing_else(space, open_mesh):
    kp = space.source_keypoints(open_mesh).kp
    rows = blink_array(kp).reshape(-1, 21, 3)
    assert rows.dtype == np.float32
    assert not rows[0].any()
    assert not np.delete(rows, EYE_SLOTS, axis=1).any()
    for upper, lower in LID_PAIRS:
        gaps = (kp[lower] + rows[:, lower] - kp[upper] - rows[:, upper])[:, 1]
        assert gaps.min() == pytest.approx(0, abs=1e-6)
        assert gaps[0] > 0.05
        assert 2 <= (gaps < 0.2 * gaps[0]).sum() <= 5


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(PackError, match="missing"):
        FaceSpace.load(tmp_path / "none.npz")
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes((PACK / "motion_space.npz").read_bytes()[:9000])
    with pytest.raises(PackError, match="damaged"):
        FaceSpace.load(damaged)
    np.savez(tmp_path / "other.npz", canonical=np.zeros((3, 3)))
    with pytest.raises(PackError, match="damaged"):
        FaceSpace.load(tmp_path / "other.npz")
