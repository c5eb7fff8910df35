"""Blinks at a rate, lids and gaze, as numbers."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.atomic_components.blinks import BlinkClock
from core.atomic_components.eyes import EYEBALL, Lids, turn_eyes
from core.motion import MotionSpace

BLINK = np.zeros((4, 63), np.float32)
BLINK[1:, 34] = (0.5, 1.0, 0.4)
MASK = MotionSpace().eye_mask()


def rows(rate, n, seed=0, known=True, length=7):
    clock = BlinkClock(length, random.Random(seed))
    return [clock(rate, n - i if known else None) for i in range(n)]


@given(st.floats(0, 60), st.integers(1, 400), st.integers(0, 50))
def test_blinks_are_whole_and_never_last(rate, n, seed):
    out = rows(rate, n, seed)
    starts = [i for i, row in enumerate(out) if row == 1]
    assert all(out[i : i + 7] == [1, 2, 3, 4, 5, 6, 0][: n - i] for i in starts)
    assert n < 7 or out[-1] in (0, 6)


@pytest.mark.parametrize("rate", [0, 10, 30, 60])
def test_rate(rate):
    minutes = 20
    starts = sum(row == 1 for row in rows(rate, 1500 * minutes))
    assert starts == pytest.approx(rate * minutes, rel=0.12, abs=0.5)


def test_short_clips_blink_too():
    assert np.mean([any(rows(20, 100, seed)) for seed in range(40)]) > 0.8


def test_lids():
    lids, exp = Lids(BLINK), np.zeros(63, np.float32)
    lids.set(exp, -1.0, 0, MASK)
    np.testing.assert_allclose(exp, BLINK[2])
    exp[:] = BLINK[2]
    lids.set(exp, -1.0, 2, MASK)  # shut in a blink, and no more
    np.testing.assert_allclose(exp, BLINK[2])
    lids.set(exp, 1.0, 2, MASK)  # a blink of wide eyes closes them
    np.testing.assert_allclose(exp, BLINK[2])
    exp[:] = 0
    lids.set(exp, 1.0, 0, MASK)
    assert -0.5 < exp[34] < -0.1


def test_gaze_of_both_kinds_of_pack():
    straight = np.zeros(3)
    official, explicit = np.zeros(63, np.float32), np.zeros(63, np.float32)
    turn_eyes(official, MotionSpace(), False, straight, straight, 10, 0)
    assert official[33] > 0 and official[45] > 0 and not official[[34, 46]].any()
    space = MotionSpace(gaze=False, lid_pairs=((11, 13), (15, 16)))
    turn_eyes(explicit, space, False, straight, straight, -30, 10)
    points = explicit.reshape(21, 3)
    np.testing.assert_allclose(points[[11, 13, 15, 16], 0], -EYEBALL / 2, atol=1e-6)
    assert (points[[11, 13, 15, 16], 2] > 0).all() and np.count_nonzero(points) == 8


def test_eyes_that_follow_turn_against_the_head():
    exp = np.zeros(63, np.float32)
    space = MotionSpace(gaze=False, lid_pairs=((11, 13), (15, 16)))
    turn_eyes(exp, space, True, np.array([0.0, 8.0, 0.0]), np.zeros(3), 0, 0)
    assert exp.reshape(21, 3)[11, 0] > 0
