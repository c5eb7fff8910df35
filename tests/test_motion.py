"""The motion vector: degrees, rotation, keypoints, smoothing, mirroring, and numbers of frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.motion import (
    POSE,
    SAMPLES_PER_FRAME,
    SLICES,
    Motion,
    MotionSpace,
    bins_to_degrees,
    degrees_to_bins,
    mirror_index,
    num_frames,
    place_keypoints,
    rotation_matrix,
    smooth,
    transform_keypoints,
)

PIPELINE = "pipeline_motion.npz"


def test_bins_to_degrees_match_the_reference(golden):
    z = golden(PIPELINE)
    np.testing.assert_allclose(bins_to_degrees(z["bin66_in"]), z["bin66_out"], atol=1e-4)
    np.testing.assert_allclose(bins_to_degrees(z["bin66_onehot_in"]), z["bin66_onehot_out"], atol=1e-4)


@given(st.floats(-80, 80))
def test_degrees_survive_the_round_trip_through_bins(degrees):
    assert bins_to_degrees(degrees_to_bins(degrees)) == pytest.approx([degrees], abs=1e-3)


def test_rotation_matches_the_reference(golden):
    z = golden(PIPELINE)
    np.testing.assert_allclose(rotation_matrix(*z["rot_pyr"].T), z["rot_out"], atol=2e-5)


def test_positive_pitch_lowers_a_point_in_front_of_the_face():
    nose = np.array([0.0, 0.0, -1.0])
    assert (nose @ rotation_matrix(10, 0, 0)[0])[1] > 0


def test_keypoints_match_the_reference(golden, motion_of):
    z = golden(PIPELINE)
    for name in ("xs", "batch"):
        np.testing.assert_allclose(transform_keypoints(motion_of(z, name)), z[f"tk_{name}"], atol=2e-5)
    xs = motion_of(z, "xs")
    placed = place_keypoints(xs.kp, xs.exp, rotation_matrix(10, -20, 5), xs.scale, xs.t, exp_canonical=False)
    np.testing.assert_allclose(placed, z["tk_deg"], atol=2e-5)


def test_canonical_expression_turns_with_the_head(golden, motion_of):
    xs = motion_of(golden(PIPELINE), "xs")
    moved = Motion(xs.data.copy(), xs.kp + xs.exp)
    moved.exp[:] = 0
    np.testing.assert_allclose(transform_keypoints(xs, exp_canonical=True), transform_keypoints(moved), atol=2e-5)
    assert np.abs(transform_keypoints(xs, exp_canonical=True) - transform_keypoints(xs)).max() > 1e-3


def test_layout_matches_the_reference(golden, motion_of):
    z = golden(PIPELINE)
    motion = motion_of(z["arr328"])
    for part in SLICES:
        np.testing.assert_allclose(getattr(motion, part), z[f"dic_from328__{part}"], atol=2e-5)
    np.testing.assert_array_equal(motion.kp, z["dic_from328__kp"])
    motion.exp[0, 5] = 42
    assert motion.data[0, SLICES["exp"].start + 5] == 42


def test_indexing_keeps_the_frame_axis(golden, motion_of):
    motion = motion_of(golden("pipeline_stitch.npz")["src_vid"])
    assert len(motion[-1]) == 1 and len(motion[2:5]) == 3
    np.testing.assert_array_equal(motion[-1].kp, motion.kp[6:7])
    with pytest.raises(IndexError):
        motion[7]


@pytest.mark.parametrize("shape", [(265,), (2, 264), (2, 328)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="motion must be"):
        Motion(np.zeros(shape, np.float32))


@pytest.mark.parametrize("window", [3, 4, 13])
def test_source_smoothing_matches_the_reference(golden, motion_of, window):
    z = golden(PIPELINE)
    frames = [motion_of(z, f"video7_{i}") for i in range(7)]
    video = Motion(np.concatenate([f.data for f in frames]), np.concatenate([f.kp for f in frames]))
    smoothed = video.smoothed(window)
    for part in ("scale", "pitch", "t", "exp", "kp"):
        np.testing.assert_allclose(getattr(smoothed, part), z[f"smooth{window}__{part}"], atol=1e-4)
    assert video.smoothed(1) is video


def test_motion_smoothing_matches_the_reference(golden):
    z = golden("pipeline_audio2motion.npz")
    pose = z["smo_in"][:, POSE]
    for window in (1, 2, 3, 5):
        np.testing.assert_allclose(smooth(pose, window), z[f"smo_k{window}"][:, POSE], atol=1e-4)
    np.testing.assert_allclose(smooth(pose, 3, 4, 7), z["smo_k3_4_7"][:, POSE], atol=1e-4)


def test_mirror_index_matches_the_reference(golden):
    for n, pairs in golden("pipeline_util.json")["mirror_index"].items():
        assert [mirror_index(i, int(n)) for i, _ in pairs] == [j for _, j in pairs]


@given(st.integers(-10_000, 10_000), st.integers(1, 300))
def test_mirror_index_moves_by_one_frame_at_most(i, n):
    here, there = mirror_index(i, n), mirror_index(i + 1, n)
    assert 0 <= here < n and abs(here - there) <= 1
    assert here == mirror_index(i + 2 * n, n)


def test_num_frames_matches_the_exact_count(golden):
    for case in golden("pipeline_util.json")["num_frames"]:
        assert num_frames(case["samples"]) == case["exact"]


@given(st.integers(0, 10**9))
def test_num_frames_covers_the_audio_and_no_more(samples):
    covered = num_frames(samples) * SAMPLES_PER_FRAME
    assert samples <= covered < samples + SAMPLES_PER_FRAME


def test_space_masks_mark_three_numbers_per_keypoint():
    space = MotionSpace()
    assert space.lip_mask().sum() == 18 and space.eye_mask().sum() == 15
    assert space.eye_mask()[33:36].all() and not (space.lip_mask() * space.eye_mask()).any()
