import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.atomic_components.blinks import blink_rows
from core.errors import InputError
from core.settings.controls import build_controls, frame_controls, mentions, merged_controls, overall_controls
from core.settings.options import ControlOptions
from core.settings.timeline import Curve, Timeline


def starts(rows):
    return [i - 1 for i, row in enumerate(rows) if row == 1]


def test_blinks_match_the_reference(golden):
    blinks = golden("pipeline_blink.json")
    for case in blinks["cases"]:
        rows = blink_rows(case["N"], case["blink_n"], case["open_n"], random.Random(case["seed"]))
        assert len(rows) == case["length"] and starts(rows) == case["starts"]
        assert sum((i + 1) * row for i, row in enumerate(rows)) == case["checksum"]
    assert blink_rows(237, 15, 0, random.Random(99)) == blinks["full_237_seed99"]


def test_blink_draws_continue_when_the_length_becomes_known(golden):
    rng = random.Random(99)
    blink_rows(3000, 15, 0, rng)
    assert starts(blink_rows(237, 15, 0, rng)) == golden("pipeline_blink.json")["setup_then_set_Nd_237_seed99"]


@pytest.mark.parametrize("spacing", [0.1, None, "5", [60.0], True])
def test_bad_spacing_is_refused(spacing):
    with pytest.raises(InputError, match="delta_eye_open_n"):
        blink_rows(200, 15, spacing, random.Random(0))


def test_numpy_numbers_and_tuples_are_spacings():
    assert starts(blink_rows(200, 15, np.int64(30), random.Random(0))) == [30, 75, 120, 165]
    assert blink_rows(300, 15, (20, 50, 35), random.Random(0)) == blink_rows(300, 15, [20, 50, 35], random.Random(0))


@given(st.integers(0, 2000), st.integers(1, 30), st.integers(0, 99), st.sampled_from([0, 7, -1, [3, 90]]))
def test_blinks_are_whole_and_inside(n, rows, seed, spacing):
    out = blink_rows(n, rows, spacing, random.Random(seed))
    assert len(out) == n
    if rows > 1:
        for start in starts(out):
            assert out[start : start + rows] == list(range(rows))


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
