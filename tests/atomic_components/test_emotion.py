"""Mixtures of emotions, their strength, the smile, and how they change over time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.atomic_components.emotion import EmotionTrack
from core.errors import InputError
from core.settings.emotions import EMOTIONS, parse_emotion

HAPPY, NEUTRAL, SAD, SURPRISE = (parse_emotion(name)[0] for name in ("happy", "neutral", "sad", "surprise"))


def test_mixtures_by_parts():
    row = parse_emotion("happy:0.7, surprise:0.3")[0]
    np.testing.assert_allclose(row, 0.7 * HAPPY + 0.3 * SURPRISE, atol=1e-6)
    np.testing.assert_allclose(parse_emotion({"happy": 0.25})[0], 0.25 * HAPPY + 0.75 * NEUTRAL, atol=1e-6)


@given(st.dictionaries(st.sampled_from(EMOTIONS), st.floats(0, 1), min_size=1))
def test_mixtures_are_shares(parts):
    if sum(parts.values()) > 1:
        with pytest.raises(InputError, match="emo"):
            parse_emotion(parts)
        return
    row = parse_emotion(",".join(f"{name}:{part!r}" for name, part in parts.items()))[0]
    assert row.sum() == pytest.approx(1, abs=1e-4) and row.min() >= 0


@pytest.mark.parametrize(
    "bad", ["happy:0.7,sad", "happy:x", "happy:0.9,sad:0.9", "happy:-1", "merry:0.5", {}, "happy:"]
)
def test_bad_mixtures_are_refused(bad):
    with pytest.raises(InputError, match="emo"):
        parse_emotion(bad)


def test_strength_and_smile():
    half = EmotionTrack("happy", {"emo_strength": 0.5})([0])[0]
    np.testing.assert_allclose(half, (HAPPY + NEUTRAL) / 2, atol=1e-6)
    np.testing.assert_allclose(EmotionTrack(4, {"smile": 1.0})([0])[0], HAPPY, atol=1e-6)
    np.testing.assert_allclose(EmotionTrack(4, {"smile": -1.0})([0])[0], SAD, atol=1e-6)


def test_changes_come_gradually_and_are_the_same_for_any_window():
    track = EmotionTrack(4)
    track.set_controls({i: {"emo": "happy"} for i in range(20, 100)})
    whole = track(list(range(60)))
    happy = whole[:, EMOTIONS.index("happy")]
    assert happy[5] < 0.01 and happy[40] > 0.99 and np.abs(np.diff(happy)).max() < 0.1
    track.set_controls({i: {"emo": "happy"} for i in range(20, 100)})
    parts = np.concatenate([track(list(range(a, a + 5))) for a in range(0, 60, 5)])
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_rows_of_a_list_are_repeated():
    track = EmotionTrack([[3], [5]])
    np.testing.assert_array_equal(track([0, 1, 2, 3]), np.stack([HAPPY, SAD, HAPPY, SAD]))
