"""Condition rows: emotions, eyes and keypoints beside the speech, against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.atomic_components.condition_handler import Character, ConditionHandler, ConditionParts, parse_emotion
from core.errors import InputError
from core.motion import MOTION_DIM
from core.settings.emotions import EMOTIONS
from core.settings.options import ConditionOptions

AUDIO_DIM = 1024


@pytest.fixture
def rows(golden):
    """rows("img", emo, n, start, ...) -> the columns after the audio."""
    z = golden("pipeline_condition.npz")

    def build(who, emo, n, start, parts=ConditionParts(), override=None, f0=False):
        character = Character(np.zeros(MOTION_DIM), z[f"{who}_eye_open"], z[f"{who}_eye_ball"], z[f"{who}_sc"])
        handler = ConditionHandler(character, ConditionOptions(emo, f0), parts)
        audio = np.random.default_rng(0).normal(size=(n, AUDIO_DIM)).astype(np.float32)
        out = handler(audio, start, override)
        assert out.dtype == np.float32
        np.testing.assert_array_equal(out[:, :AUDIO_DIM], audio)
        return out[:, AUDIO_DIM:]

    return build


CASES = {
    "img_i0_n80": ("img", 4, 80, 0),
    "img_i0_n100": ("img", 4, 100, 0),
    "img_im70_n80": ("img", [3, 4], 80, -70),
    "vid_im10_n25": ("vid", 4, 25, -10),
    "vid_i0_n80": ("vid", [[4], [3, 4], [0]], 80, 0),
    "vid_i55_n80": ("vid", [[4], [3, 4], [0]], 80, 55),
    "vid_ch_n20": ("ch", 4, 20, 3),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_match_the_reference(golden, rows, case):
    np.testing.assert_allclose(rows(*CASES[case]), golden("pipeline_condition.npz")[f"cond_{case}"], atol=2e-5)


@pytest.mark.parametrize("n", [30, 80])
def test_eyes_of_the_first_frame(golden, rows, n):
    expected = golden("pipeline_condition.npz")[f"cond_vid_eyef0_n{n}"]
    np.testing.assert_allclose(rows("vid", 4, n, 12, f0=True), expected, atol=2e-5)


def test_emotion_array(golden, rows):
    z = golden("pipeline_condition.npz")
    np.testing.assert_allclose(rows("vid", z["emo_arr13"], 80, -70), z["cond_vid_im70_n80_emoarr"], atol=2e-5)
    assert parse_emotion(z["emo_arr13"].astype(np.float64)).dtype == np.float32


@pytest.mark.parametrize("case, start, override", [("vid_callemo1_n5", 2, 6)])
def test_emotion_of_one_call(golden, rows, case, start, override):
    expected = golden("pipeline_condition.npz")[f"cond_{case}"]
    np.testing.assert_allclose(rows("vid", 4, 5, start, override=override), expected, atol=2e-5)


def test_listed_emotion_of_one_call_is_cut(rows):
    listed = [[i] for i in range(6)]
    np.testing.assert_array_equal(rows("vid", 4, 5, 2, override=listed)[:, :8], parse_emotion(listed)[:5])
    with pytest.raises(InputError, match="4 rows for 5 frames"):
        rows("vid", 4, 5, 2, override=listed[:4])


def test_parts_can_be_left_out(golden, rows):
    z = golden("pipeline_condition.npz")
    only_eyes = ConditionParts(use_emo=False, use_sc=False)
    np.testing.assert_allclose(rows("vid", 4, 9, 4, only_eyes), z["cond_vid_noemo_nosc_n9"], atol=2e-5)
    only_lids = ConditionParts(use_emo=False, use_eye_ball=False, use_sc=False)
    np.testing.assert_allclose(rows("vid", 4, 9, 4, only_lids), z["cond_vid_only_eyeopen_n9"], atol=2e-5)
    assert rows("vid", 4, 9, 4, ConditionParts(True, False, False, False)).shape == (9, 8)


def test_emotions_match_the_reference(golden):
    for value, expected in golden("pipeline_util.json")["emo"].items():
        emo = [int(v) for v in value.strip("[]").split(",")]
        for form in (emo, tuple(emo), np.array(emo), emo[0] if len(emo) == 1 else emo):
            np.testing.assert_allclose(parse_emotion(form), [expected], atol=1e-7)


BAD_LABELS = [8, -1, 4.0, None, True, "joyful", ""]
BAD_LISTS = [[], (), [4, 8], [[4], []], [[4], 3], np.zeros((0, 8)), np.zeros((3, 7))]


@pytest.mark.parametrize("value", [*BAD_LABELS, *BAD_LISTS])
def test_bad_emotions_are_refused(value):
    with pytest.raises(InputError, match="emo"):
        parse_emotion(value)


def test_all_eight_emotions_may_be_mixed():
    np.testing.assert_allclose(parse_emotion(list(range(8))), np.full((1, 8), 1 / 8), atol=1e-7)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True), st.booleans())
def test_names_and_numbers_mean_the_same(labels, upper):
    names = ", ".join(EMOTIONS[i].upper() if upper else EMOTIONS[i] for i in labels)
    by_name, by_number = parse_emotion(names), parse_emotion(np.array(labels))
    np.testing.assert_array_equal(by_name, by_number)
    assert by_name.sum() == pytest.approx(1)
    assert set(np.flatnonzero(by_name[0] > by_name[0].mean() * 0.99)) == set(labels)


def test_reference_character(golden, motion_of):
    z = golden("pipeline_motion.npz")
    parts = ("scale", "pitch", "yaw", "roll", "t", "exp", "kp")
    info = {
        "x_s_info_lst": [{part: z[f"xs__{part}"] for part in parts}],
        "sc": z["xs__kp"],
        "eye_open_lst": [np.zeros((2, 2)), np.ones((1, 2))],
        "eye_ball_lst": [np.zeros((3, 6))],
    }
    character = Character.from_ch_info(info)
    np.testing.assert_allclose(character.start, motion_of(z, "xs").data[0], atol=1e-7)
    assert character.scale == pytest.approx(float(z["xs__scale"][0, 0])) and character.is_reference
    assert character.eye_open.shape == (3, 2) and character.sc.shape == (63,)
    del info["sc"]
    with pytest.raises(InputError, match="'sc'"):
        Character.from_ch_info(info)
