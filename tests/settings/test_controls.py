"""Controls of frames: fades, lists, timelines, what goes before what, and values that are refused."""

import pytest

from core.errors import InputError
from core.settings.controls import build_controls, frame_controls, mentions, merged_controls, overall_controls
from core.settings.options import ControlOptions
from core.settings.timeline import Curve, Timeline


def test_fades_match_the_reference(golden):
    for case in golden("pipeline_util.json")["setup_Nd"]:
        given_, expected = case["input"], {int(k): v for k, v in case["ctrl_info"].items() if int(k) >= 0}
        ctrl_info = {int(k): v for k, v in given_["ctrl_info"].items()}
        before = {k: dict(v) for k, v in ctrl_info.items()}
        controls = build_controls(given_["N_d"], given_["fade_in"], given_["fade_out"], ctrl_info)
        assert controls.keys() == expected.keys()
        for frame, values in expected.items():
            assert controls[frame] == pytest.approx(values)
        assert ctrl_info == before


def test_listed_controls_may_be_shorter_than_the_clip():
    controls = build_controls(5, fade_out=1, ctrl_info=[{"delta_yaw": 1}, None])
    assert controls == {0: {"delta_yaw": 1}, 1: {}, 3: {"fade_alpha": 1}, 4: {"fade_alpha": 0}}


def test_controls_merge_by_frame_and_name():
    below = {0: {"delta_yaw": 1, "vad_alpha": 0.5}, 4: {"delta_roll": 2}}
    assert merged_controls(below, [{"delta_yaw": 7}, None, {"delta_pitch": 1}]) == {
        0: {"delta_yaw": 7, "vad_alpha": 0.5},
        1: {},
        2: {"delta_pitch": 1},
        4: {"delta_roll": 2},
    }
    assert below[0] == {"delta_yaw": 1, "vad_alpha": 0.5}
    assert merged_controls(None, {}) == {}


@pytest.mark.parametrize(
    ("ctrl_info", "words"),
    [
        ({3: {"delta_pich": 1}}, "frame 3: unknown control 'delta_pich'; did you mean 'delta_pitch'"),
        ({3: {"delta_pitch": 91}}, r"delta_pitch is 91; it must be -90 \.\. 90"),
        ({0: {"vad_alpha": float("nan")}}, r"vad_alpha is nan; it must be 0 \.\. 1"),
        ({0: {"alpha_yaw": "much"}}, "alpha_yaw is 'much'"),
        ({"0": {}}, "'0'"),
        ({0: 5}, "0: 5"),
        (7, "int"),
    ],
)
def test_controls_that_do_not_exist_or_are_out_of_range(ctrl_info, words):
    with pytest.raises(InputError, match=words):
        frame_controls(ctrl_info)


def test_a_timeline_goes_on_beyond_its_last_key_under_fades_and_frames():
    line = Timeline({"delta_yaw": Curve((0.0, 10.0), (0.0, 10.0), False), "smile": Curve((0.0,), (0.5,), False)})
    controls = build_controls(100, fade_out=10, ctrl_info=merged_controls(line, {50: {"smile": 1.0}}))
    assert controls[5] == {"delta_yaw": 5.0, "smile": 0.5}
    assert controls[50] == {"delta_yaw": 10.0, "smile": 1.0}
    assert controls.get(94) == {"delta_yaw": 10.0, "smile": 0.5, "fade_alpha": 0.5}
    assert mentions(controls, ("smile",)) and mentions(controls, ("fade_alpha",))
    assert not mentions(controls, ("gaze_x",))


@pytest.mark.parametrize("name, value", [("smile", 3.0), ("emo", "merry"), ("delta_yaw", "left")])
def test_a_timeline_with_bad_values_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name}|{value}"):
        frame_controls(Timeline({name: Curve((0.0,), (value,), True)}))


def test_what_is_chosen_by_name_goes_before_the_pack():
    chosen = ControlOptions(delta_pitch=0.0, smile=1.0)
    assert overall_controls({"delta_pitch": 2, "delta_yaw": 1}, chosen) == {
        "delta_pitch": 0.0,
        "delta_yaw": 1,
        "smile": 1.0,
    }
