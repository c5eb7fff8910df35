"""Blinks: the reference's spacings and random draws, whole and inside the clip."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.atomic_components.blinks import blink_rows
from core.errors import InputError


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
