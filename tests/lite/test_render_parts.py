"""Pieces of the embedded renderer on made-up data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lite.head_mask import SIZE, hair_ring, head_mask, still_points
from core.lite.interior import Interior, measure_mouth
from core.lite.lids import closures
from core.lite.mesh_regions import LOWER_INNER, UPPER_INNER
from core.lite.motion_space import LID_PAIRS, SLOT_VERTICES, FaceSpace, normalise_mesh
from core.lite.own_teeth import cut_mouth
from core.lite.pose import ANGLE_LIMITS, soft_limit, split_motion
from core.lite.rbf import Interpolant, cubic_matrix
from core.lite.teeth import Tone
from core.motion import rotation_matrix

SPACE = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite" / "motion_space.npz"


@pytest.fixture
def mesh() -> np.ndarray:
    """(478, 3) mean face in the middle of a 512 crop."""
    space = FaceSpace.load(SPACE)
    return space.canonical * 120 + np.array([256, 230, 0])


def test_interpolant_meets_its_points_and_is_constant_for_constants():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 500, (60, 2))
    values = np.stack([np.sin(points[:, 0] / 80), points[:, 1] / 100], 1)
    smooth = Interpolant.fit(points, values, smoothing=0)
    assert np.abs(smooth(points) - values).max() < 1e-3
    flat = Interpolant.fit(points, np.full((60, 2), 3.5))
    assert np.abs(flat(rng.uniform(-100, 600, (40, 2))) - 3.5).max() < 1e-3


def test_interpolant_survives_points_that_coincide():
    points = np.array([[0, 0], [0, 0], [10, 0], [0, 10], [10, 10.0]])
    assert np.isfinite(Interpolant.fit(points, np.arange(10.0).reshape(5, 2))(points)).all()


def test_cubic_matrix_interpolates_parabolas_exactly():
    nodes = np.arange(12.0)
    at = np.linspace(1, 10, 77)
    assert np.allclose(cubic_matrix(at, 12) @ (0.3 * nodes**2 - nodes), 0.3 * at**2 - at, atol=1e-4)
    assert np.allclose(cubic_matrix(np.linspace(-3, 15, 50), 12).sum(axis=1), 1, atol=1e-5)


@given(st.floats(-1e6, 1e6), st.floats(0.1, 100))
def test_soft_limit_keeps_small_values_and_bounds_large_ones(x, limit):
    y = float(soft_limit(np.array(x), limit))
    assert abs(y) <= limit
    if abs(x) <= 0.6 * limit:
        assert y == x


def test_soft_limit_is_smooth():
    y = soft_limit(np.linspace(-30, 30, 6001), 10.0)
    assert np.all(np.diff(y) >= 0) and np.abs(np.diff(y, 2)).max() < 1e-4


@settings(max_examples=40)
@given(*[st.floats(-5, 5)] * 3, st.floats(0.95, 1.05), st.floats(-0.1, 0.1))
def test_a_small_head_motion_has_no_residual(pitch, yaw, roll, scale, shift):
    x_s = normalise_mesh(FaceSpace.load(SPACE).canonical_keypoints * 120 + np.array([256, 230, 0])).astype(np.float64)
    x_d = scale * x_s @ rotation_matrix(pitch, yaw, roll)[0].astype(np.float64) + [shift, 0, 0]
    pose, residual = split_motion(x_s, x_d)
    assert np.abs(residual).max() < 1e-2
    half = np.array([256, 256, 0])
    assert np.abs(pose(x_s * 256 + half)[:, :2] - (x_d * 256 + half)[:, :2]).max() < 1e-2


def test_large_turns_are_limited(mesh):
    x_s = normalise_mesh(mesh[list(SLOT_VERTICES)])
    for angles, limit in (((0, 60, 0), ANGLE_LIMITS[1]), ((-50, 0, 0), ANGLE_LIMITS[0]), ((0, 0, 45), ANGLE_LIMITS[2])):
        pose, _ = split_motion(x_s, x_s @ rotation_matrix(*angles)[0])
        turned = np.degrees(np.arccos((np.trace(pose.rotation) - 1) / 2))
        assert 0.8 * limit < turned <= limit + 1e-6


def test_closures_run_from_open_to_shut():
    points = np.zeros((21, 3))
    for _, lower in LID_PAIRS:
        points[lower] = [0, 12, 0]
    residual = np.zeros((21, 3))
    seen = []
    for part in (-0.2, 0, 0.3, 0.6, 1.0):
        residual[LID_PAIRS[0][0]] = [0, 12 * part, 0]
        seen.append(closures(points, residual, LID_PAIRS))
    left, right = np.array(seen).T
    assert left[0] == left[1] == 0 and left[-1] == 1 and np.all(np.diff(left[1:]) > 0)
    assert np.all(right == 0)


def test_still_points_keep_clear_of_the_head(mesh):
    crop = np.full((512, 512, 3), 200, np.uint8)
    y, x = np.mgrid[0:512, 0:512]
    crop[np.hypot((x - 256) / 118, (y - 240) / 165) < 1] = (150, 90, 60)
    mask = head_mask(crop, mesh)
    assert mask.shape == (SIZE, SIZE) and 0.05 < mask.mean() < 0.4
    ring = hair_ring(mask, mesh, 20.0)
    assert np.hypot((ring[:, 0] - 256) / 118, (ring[:, 1] - 240) / 165).max() < 1.25
    still = still_points(crop, mask, mesh, np.zeros((0, 2)))
    assert len(still) > 20
    above = still[still[:, 1] < mesh[152, 1]]
    assert np.hypot((above[:, 0] - 256) / 118, (above[:, 1] - 240) / 165).min() > 1.1


LIP = (180, 110, 100)
UPPER_TEETH = [(285, 300, (230, 230, 230)), (300, 331, (25, 25, 25))]  # rows from, to, colour


def cut(*rows):
    """`cut_mouth` of a mouth 110 pixels wide whose opening, rows 290-330, is painted in strips."""
    crop = np.full((512, 512, 3), LIP, np.uint8)
    t = np.linspace(0, np.pi, 11)
    upper = np.stack([256 - 50 * np.cos(t), 300 - 10 * np.sin(t)], 1).astype(np.float32)
    lower = np.stack([256 - 50 * np.cos(t), 300 + 30 * np.sin(t)], 1).astype(np.float32)
    for first, last, colour in rows:
        crop[first:last, 205:307] = colour
    return cut_mouth(crop, upper, lower, 110.0, Tone(1.0, 1.0, np.ones(3, np.float32)))


def opaque(layer, y, x=256):
    """Alpha of a layer at a pixel of the crop."""
    return layer.rgba[y - layer.origin[1], x - layer.origin[0], 3]


@pytest.mark.parametrize("lower_teeth", [True, False])
def test_cut_mouth_finds_lower_teeth(lower_teeth):
    jaw, skull, found = cut(*UPPER_TEETH, *[(318, 331, (225, 225, 225))] * lower_teeth)
    assert found == lower_teeth
    assert jaw.jaw and not skull.jaw
    covered = np.maximum(jaw.rgba[..., 3], skull.rgba[..., 3])
    row, column = 305 - skull.origin[1], 256 - skull.origin[0]
    assert covered[row - 12 : row + 20, column].min() > 0.98  # the picture's own mouth is covered without a gap


def test_the_inner_side_of_the_lower_lip_is_no_teeth():
    jaw, skull, found = cut(*UPPER_TEETH, (321, 331, (215, 130, 118)))
    assert not found and jaw.when == "same"  # a wider mouth shows lower teeth, not this strip above a black bar
    assert opaque(skull, 326) == 0  # and it does not hang from the upper teeth


def test_what_lies_below_a_black_gap_under_the_upper_lip_moves_with_the_jaw():
    jaw, skull, found = cut((285, 305, (12, 8, 8)), (305, 331, (190, 150, 140)))
    assert found and jaw.when == "always"
    assert opaque(jaw, 318) == 1 and opaque(skull, 318) == 0
    shadow_only = cut((285, 305, (90, 80, 75)), (305, 331, (190, 175, 165)))
    assert not shadow_only[2] and opaque(shadow_only[1], 315) == 1  # teeth in the shadow of the lip stay with the skull


def test_gums_end_at_the_corners_of_the_mouth():
    _, skull, _ = cut(*UPPER_TEETH)
    assert opaque(skull, 285) > 0.9
    assert max(opaque(skull, y, x) for y in range(285, 305) for x in (198, 314)) == 0


@pytest.mark.parametrize(("opening", "own"), [(0.08, 0.0), (0.25, 1.0)])
def test_a_slit_gets_drawn_teeth(mesh, opening, own):
    frame = measure_mouth(mesh)
    for upper, lower in zip(UPPER_INNER, LOWER_INNER, strict=True):
        mesh[lower, 1] = mesh[upper, 1] + opening * frame.width
    inside = Interior.build(np.full((512, 512, 3), LIP, np.uint8), mesh, measure_mouth(mesh), 0.0)
    assert inside.own == own
    skull = next(layer for layer in inside.layers if not layer.jaw)
    solid = skull.rgba[skull.rgba[..., 3] > 0.99][:, :3]
    assert (solid.min(axis=1).max() > 150) == (own == 0)  # whiter than the lips only where teeth are drawn


def test_tone_follows_the_portrait():
    grey = Tone.measure(np.full((512, 512, 3), 100, np.uint8), np.array([[200, 300.0]]))
    assert np.ptp(grey(np.array([150.0, 74.0, 72.0]))) < 1e-3
    dark = Tone.measure(np.full((512, 512, 3), (40, 25, 18), np.uint8), np.array([[200, 300.0]]))
    assert dark(np.array([226.0, 216.0, 200.0])).max() < 90


def test_a_pale_face_with_red_lips_has_a_red_mouth():
    crop = np.full((512, 512, 3), (215, 205, 203), np.uint8)
    crop[330:360, 150:250] = (190, 90, 100)
    skin, lips, throat = np.array([[200, 300.0]]), np.array([[200, 345.0]]), np.array([76.0, 32.0, 31.0])
    pale, red = (np.ptp(tone(throat)) for tone in (Tone.measure(crop, skin), Tone.measure(crop, skin, lips)))
    assert red > 30 > 2 * pale
