"""Crops of faces: reference points, squares and matrices, against the reference."""

import numpy as np
import pytest

from core.settings.options import CropOptions
from core.utils.crop import crop_image, crop_matrices, oriented_square, reference_points, transform_points

CROPS = "pipeline_crop.npz"
SETTINGS = {"p106": (224, 1.5, -0.1), "p203": (512, 2.3, -0.125)}
FACES = [(kind, face) for kind in SETTINGS for face in range(6)]


def angle_difference(a, b):
    return abs((a - b + np.pi) % (2 * np.pi) - np.pi)


@pytest.mark.parametrize("kind, face", FACES)
@pytest.mark.parametrize("use_lip", [True, False])
def test_reference_points(golden, kind, face, use_lip):
    z = golden(CROPS)
    expected = z[f"{kind}_{face}_pt2_{'lip' if use_lip else 'nolip'}"]
    np.testing.assert_allclose(reference_points(z[f"{kind}_{face}_pts"], use_lip), expected, atol=3e-3)


@pytest.mark.parametrize("kind, face", FACES)
@pytest.mark.parametrize("vx", [0, 0.1])
def test_square(golden, kind, face, vx):
    z = golden(CROPS)
    size, scale, vy = SETTINGS[kind]
    square = oriented_square(z[f"{kind}_{face}_pts"], scale, vx, vy)
    expected = z[f"{kind}_{face}_rect_vx{vx}"]
    np.testing.assert_allclose([*square.centre, square.side, square.side], expected[:4], atol=3e-3)
    assert angle_difference(square.angle, expected[4]) < 2e-5


@pytest.mark.parametrize("kind, face", FACES)
@pytest.mark.parametrize("rotate", [True, False])
def test_crop(golden, picture, kind, face, rotate):
    z = golden(CROPS)
    size, scale, vy = SETTINGS[kind]
    key, points = f"{kind}_{face}_rot{int(rotate)}", z[f"{kind}_{face}_pts"]
    options = CropOptions(scale, crop_vy_ratio=vy, crop_flag_do_rot=rotate)
    crop = crop_image(picture(360, 480), points, size=size, options=options)
    for name in ("M_o2c", "M_c2o"):
        np.testing.assert_allclose(getattr(crop, name)[:2, :2], z[f"{key}_{name}"][:2, :2], atol=2e-5)
        np.testing.assert_allclose(getattr(crop, name)[:, 2], z[f"{key}_{name}"][:, 2], atol=3e-3)
    np.testing.assert_allclose(crop.to_crop(points)[::7], z[f"{key}_pt_crop"], atol=3e-3)
    np.testing.assert_allclose(crop.to_frame(crop.to_crop(points)), points, atol=3e-3)
    step = size // z[f"{key}_img"].shape[0]
    difference = np.abs(crop.image[::step, ::step].astype(int) - z[f"{key}_img"])
    assert difference.mean() < 0.1 and (difference.max(axis=2) > 4).mean() < 0.002


def test_coinciding_eye_and_lip_points_mean_upright(golden):
    z = golden(CROPS)
    M_o2c, M_c2o = crop_matrices(oriented_square(z["deg_pts"], 2.3, 0, -0.125), 512)
    np.testing.assert_allclose(M_o2c, z["deg_M_o2c"], atol=3e-3)
    np.testing.assert_allclose(M_c2o, z["deg_M_c2o"], atol=3e-3)


def test_transform_points(golden):
    z = golden(CROPS)
    np.testing.assert_allclose(transform_points(z["xf_in"], z["p106_1_rot1_M_c2o"]), z["xf_out"], atol=3e-3)


@pytest.mark.parametrize("count", [5, 9, 68, 101, 106, 203, 478])
def test_all_known_sets_give_two_points(count):
    points = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    eye, lip = reference_points(points)
    assert eye.shape == lip.shape == (2,) and not np.allclose(eye, lip)


def test_other_large_sets_use_their_first_101_points():
    points = np.random.default_rng(0).normal(size=(130, 2))
    np.testing.assert_array_equal(reference_points(points), reference_points(points[:101]))
    with pytest.raises(ValueError, match="17 landmarks"):
        reference_points(points[:17])


def test_enclosed_points_set_the_size_and_landmarks_the_direction():
    points = np.array([[0, 0], [2, 0], [1, 1], [0, 2], [2, 2]], np.float32)
    around = points * 3
    assert oriented_square(points, 1, enclosed=around).side == pytest.approx(3 * oriented_square(points, 1).side)
