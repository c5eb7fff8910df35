"""Mixing of source and generated poses, masks of the expression, and gaze."""

import numpy as np
import pytest

from core.atomic_components.pose import Mix, Pose, expression_masks, follow_gaze, shift_gaze
from core.errors import InputError
from core.motion import PITCH, ROLL, SCALE, SLICES, MotionSpace

PIPELINE = "pipeline_motion.npz"
PARTS = {"pitch": 0.5, "yaw": 1, "roll": 0.25, "t": 1}
CASES = {
    "image": (None, True),
    "video": (None, False),
    "dict": ({"exp": 1.3, **PARTS}, True),
    "dictvid": ({"exp": 0.8}, False),
    "scale": (("exp", "scale"), True),
}


@pytest.mark.parametrize("case, reference", [(case, d0) for case in CASES for d0 in ("d0", "nod0")][:-1])
def test_mix_matches_the_reference(golden, motion_of, case, reference):
    z = golden(PIPELINE)
    d0 = Pose.of(motion_of(z, "d0")).vector if reference == "d0" else None
    mixed = Mix.plan(*CASES[case]).apply(Pose.of(motion_of(z, "xd")), Pose.of(motion_of(z, "xs")), d0)
    for part, where in SLICES.items():
        expected = z[f"mix_{case}_{reference}__{part}"][0]
        tolerance = 1e-4 if part in ("pitch", "yaw", "roll") else 2e-5
        np.testing.assert_allclose(mixed.vector[where], expected, atol=tolerance)


def test_scale_ratio_acts_on_expression_and_angles_only():
    gain = Mix.plan(("exp", "pitch", "t", "scale"), is_image=True, ratio=1.5).gain
    assert gain[SLICES["exp"]].tolist() == [1.5] * 63 and gain[PITCH][0] == 1.5
    assert gain[SLICES["t"]][0] == gain[SCALE][0] == gain[ROLL][0] == 1


def test_unknown_parts_are_refused():
    with pytest.raises(InputError, match="'lips'"):
        Mix.plan(("exp", "lips"), is_image=True)


@pytest.mark.parametrize(
    "case, drive_eye, blink",
    [
        ("img_nodelta", True, False),
        ("img_delta", True, True),
        ("vid_nodelta", False, False),
        ("vid_drive_nodelta", True, False),
        ("vid_drive_delta", True, True),
        ("img_nodrive_delta", False, True),
    ],
)
def test_expression_masks_match_the_reference(golden, case, drive_eye, blink):
    z = golden(PIPELINE)
    for mask, name in zip(expression_masks(MotionSpace(), drive_eye, blink), ("a1", "a2", "a3"), strict=True):
        np.testing.assert_array_equal(mask, z[f"fix_{case}_{name}"][0])


def test_gaze_matches_the_reference(golden):
    z = golden(PIPELINE)
    for (first, second), name in zip(z["eyedelta_in"], ("pp", "pn", "np", "zz"), strict=True):
        exp = z["xd__exp"][0].copy()
        shift_gaze(exp, first, second)
        np.testing.assert_allclose(exp, z[f"eyedelta_{name}"][0], atol=2e-5)


def test_gaze_of_a_whole_pose(golden, motion_of):
    z = golden(PIPELINE)
    pose = Pose.of(motion_of(z, "xd"))
    yaw, pitch = z["gaze_pose_s_yaw_pitch"]
    shift_gaze(pose.exp, *follow_gaze(pose.angles(), np.array([pitch, yaw, 0])))
    np.testing.assert_allclose(pose.exp, z["gaze_exp"][0], atol=2e-5)
