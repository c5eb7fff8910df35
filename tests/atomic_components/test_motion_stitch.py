"""From generated motion and source to keypoints: fades, blinks, relative motion, gaze and limits."""

import random

import numpy as np
import pytest

from core.atomic_components.motion_stitch import MotionStitch
from core.avatars.avatar import Frame
from core.errors import InputError
from core.motion import Motion, MotionSpace, bins_to_degrees, mirror_index, transform_keypoints
from core.settings.options import StitchOptions

FADE_S = {"fade_type": "s"}
RELEASED = {"fade_type": "d0", "overall_ctrl_info": {"delta_pitch": 2}}
CONTROLS = {5: {"delta_pitch": -4, "vad_alpha": 0.25}, 6: {"vad_alpha": 1, "alpha_yaw": 0.5}}


def fake_network(x_s, x_d):
    return 0.95 * x_d + 0.05 * x_s


@pytest.fixture
def run(golden, motion_of, avatar):
    """run("img" or "vid", options, ...) -> x_s and x_d of the 16 recorded driving frames."""
    z = golden("pipeline_stitch.npz")
    driving = motion_of(z, "drv")

    def stitch(kind, options, blink=0, controls=None, reference=None, character=False, n=16):
        source = motion_of(z[f"src_{kind}"])
        options = {**options, "delta_eye_arr": z["delta_eye_arr"][:blink] if blink else None}
        stage = MotionStitch(
            avatar(source),
            StitchOptions(**options),
            MotionSpace(),
            random.Random(0),
            fake_network,
            float(motion_of(z["ch_x_s_info_0"]).scale[0, 0]) if character else None,
        )
        stage.setup_nd(n, ctrl_info=controls)
        if reference is not None:
            stage.set_reference(motion_of(reference))
        out = [stage(Frame(i, mirror_index(i, len(source)), driving[i])) for i in range(16)]
        return np.concatenate([f.x_s for f in out]), np.concatenate([f.x_d for f in out])

    return stitch


def fades(z):
    return {i: {"fade_alpha": float(a)} for i, a in enumerate(z["fade_alpha"]) if not np.isnan(a)}


def check(z, case, result):
    x_s, x_d = result
    expected = z[f"{case}_xs"]
    np.testing.assert_allclose(x_s, np.broadcast_to(expected, x_s.shape), atol=2e-5)
    np.testing.assert_allclose(x_d, z[f"{case}_xd"], atol=2e-5)


@pytest.mark.parametrize(
    "case, options",
    [
        ("img_default", {}),
        ("vid_default", {}),
        ("img_absolute", {"relative_d": False}),
        ("img_nostitch", {"flag_stitching": False}),
        ("vid_nostitch", {"flag_stitching": False}),
    ],
)
def test_plain_runs(golden, run, case, options):
    check(golden("pipeline_stitch.npz"), case, run(case[:3], options))


@pytest.mark.parametrize(
    "case, options",
    [("img_fade_s", FADE_S), ("vid_fade_s", FADE_S), ("img_fade_s_all", {**FADE_S, "fade_out_keys": None})],
)
def test_fades_to_the_source(golden, run, case, options):
    z = golden("pipeline_stitch.npz")
    check(z, case, run(case[:3], options, controls=fades(z)))


@pytest.mark.parametrize("kind", ["img", "vid"])
def test_released_settings(golden, run, kind):
    z = golden("pipeline_stitch.npz")
    check(z, f"{kind}_released_like", run(kind, RELEASED, blink=15, character=True, controls=fades(z)))


def test_fixed_blinks(golden, run):
    z = golden("pipeline_stitch.npz")
    check(z, "img_delta_eye", run("img", {"delta_eye_open_n": 2}, blink=4))


def test_reference_frame_from_outside(golden, run):
    z = golden("pipeline_stitch.npz")
    check(z, "img_preset_d0", run("img", {}, reference=z["preset_d0"]))


def test_absolute_motion_ignores_a_reference_frame(golden, run):
    z = golden("pipeline_stitch.npz")
    check(z, "img_absolute", run("img", {"relative_d": False}, reference=z["preset_d0"]))


def test_controls_with_the_reference_vad(golden, run):
    options = {"overall_ctrl_info": {"delta_pitch": 2, "delta_yaw": -1}, "vad_parts": "all"}
    check(golden("pipeline_stitch.npz"), "img_ctrl_overall", run("img", options, controls=CONTROLS))


def test_vad_fades_the_lips_only(run):
    lips, eyes = list(MotionSpace().lip), list(MotionSpace().eye)
    options = {"relative_d": False, "flag_stitching": False}
    x_d = {alpha: run("img", options, controls={3: {"vad_alpha": alpha}})[1][3] for alpha in (0, 1)}
    assert np.abs(x_d[0] - x_d[1])[lips].max() > 1e-3
    np.testing.assert_allclose(x_d[0][eyes], x_d[1][eyes], atol=1e-6)


def test_gaze_of_a_video_follows_its_own_frame(golden, run):
    z = golden("pipeline_stitch.npz")
    x_s, x_d = run("vid", {"drive_eye": True})
    expected = z["vid_drive_eye_xd"]
    others = [k for k in range(21) if k not in (11, 15)]
    np.testing.assert_allclose(x_d[0], expected[0], atol=2e-5)
    np.testing.assert_allclose(x_d[:, others], expected[:, others], atol=2e-5)


def test_alpha_scales_degrees(avatar, golden, motion_of):
    z = golden("pipeline_motion.npz")
    source = motion_of(z, "xs")

    def turned(**controls):
        stage = MotionStitch(avatar(source), StitchOptions(drive_eye=False), MotionSpace(), random.Random(0))
        stage.setup_nd(1, ctrl_info={0: controls})
        return stage(Frame(0, 0, motion_of(z, "xd"))).x_d

    degrees = float(bins_to_degrees(source.yaw)[0])
    np.testing.assert_allclose(turned(alpha_yaw=0.5), turned(delta_yaw=-0.5 * degrees), atol=2e-5)
    assert np.abs(turned(alpha_yaw=0.5) - turned()).max() > 1e-4


def test_amplitude_scales_the_way_from_the_source(run):
    """0 keeps the head of the source, 1 changes nothing, and the angles go the same way, twice as far, at 2."""
    options = {"drive_eye": False, "flag_stitching": False, "use_d_keys": ("pitch", "yaw", "roll")}

    def heads(amount):
        names = ("amp_pitch", "amp_yaw", "amp_roll")
        return run("img", {**options, "overall_ctrl_info": dict.fromkeys(names, amount)})[1]

    plain = run("img", options)[1]
    np.testing.assert_allclose(heads(1.0), plain, atol=2e-5)
    still = heads(0.0)
    np.testing.assert_allclose(still, np.broadcast_to(still[:1], still.shape), atol=2e-5)
    once, twice = (np.abs(made[1:] - still[1:]).mean() for made in (plain, heads(2.0)))
    assert twice > 1.5 * once


def test_lids_that_cannot_be_moved_are_said_so(run):
    with pytest.raises(InputError, match="eye_open needs"):
        run("img", {"overall_ctrl_info": {"eye_open": -1.0}})
    with pytest.raises(InputError, match="blink_rate needs"):
        run("img", {}, controls={3: {"blink_rate": 10}})


def test_absolute_lips_in_a_canonical_space(avatar, golden, motion_of):
    """Mesh packs: lips are replaced, lids are the source's plus the blink, the rest stays the source's."""
    z = golden("pipeline_motion.npz")
    space = MotionSpace(lip=(3, 4), eye=(11, 13), exp_canonical=True, gaze=False)
    source, driving = motion_of(z, "xs"), motion_of(z, "xd")
    blink = np.zeros((3, 63), np.float32)
    blink[1:] = 0.1
    options = StitchOptions(use_d_keys=("exp",), relative_d=False, delta_eye_open_n=1)
    stage = MotionStitch(avatar(source, delta_eye_arr=blink), options, space, random.Random(0))
    stage.setup_nd(40)
    for index, lids in ((0, 0.0), (2, 0.1)):
        expected = Motion(source.data.copy(), source.kp)
        exp = expected.exp.reshape(21, 3)
        exp[[3, 4]] = driving.exp.reshape(21, 3)[[3, 4]]
        exp[[11, 13]] += lids
        np.testing.assert_allclose(
            stage(Frame(index, 0, driving)).x_d, transform_keypoints(expected, exp_canonical=True), atol=2e-5
        )


def test_fading_angles_that_only_some_frames_control(run):
    options = {"fade_type": "d0", "fade_out_keys": ("pitch",), "flag_stitching": False, "drive_eye": False}
    _, faded = run("img", options, controls={4: {"fade_alpha": 0.0, "delta_pitch": 10}})
    _, plain = run("img", {**options, "fade_type": ""}, controls={})
    assert np.isfinite(faded).all() and np.abs(faded[4] - plain[4]).max() < 0.5


@pytest.mark.parametrize("options", [{"fade_type": "d1"}, {"vad_parts": "eyes"}, {"delta_eye_arr": np.zeros((4, 62))}])
def test_bad_options_are_refused(avatar, golden, motion_of, options):
    source = motion_of(golden("pipeline_motion.npz"), "xs")
    with pytest.raises(InputError):
        MotionStitch(avatar(source), StitchOptions(**options), MotionSpace(), random.Random(0))


def test_inputs_are_left_alone(avatar, golden, motion_of):
    z = golden("pipeline_motion.npz")
    source, driving = motion_of(z, "xs"), motion_of(z, "xd")
    before = source.data.copy(), driving.data.copy()
    stage = MotionStitch(avatar(source), StitchOptions(), MotionSpace(), random.Random(0), fake_network)
    stage.setup_nd(2, ctrl_info={1: {"delta_exp": 1.0, "vad_alpha": 0.1}})
    frames = [Frame(i, 0, driving) for i in range(2)]
    for frame in frames:
        stage(frame)
    np.testing.assert_array_equal(source.data, before[0])
    np.testing.assert_array_equal(driving.data, before[1])
    assert frames[0].motion is driving
