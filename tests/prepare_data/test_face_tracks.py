"""Gaps in a track, and cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from prepare_data.face_tracks import FaceTrack, fill_gaps, follow, longest_gap, refuse_jumps


def test_gaps_are_linear_and_ends_are_held():
    values = np.array([0, 0, 2, 0, 0, 8, 0], np.float32)[:, None, None]
    known = np.array([False, False, True, False, False, True, False])
    np.testing.assert_allclose(fill_gaps(values, known, 2)[:, 0, 0], [2, 2, 2, 4, 6, 8, 8])
    with pytest.raises(InputError, match=r"no face for 2 frames from 0.0 s on \(at most 1"):
        fill_gaps(values, known, 1)


def test_no_face_at_all():
    with pytest.raises(InputError, match="no face found"):
        FaceTrack(np.zeros((3, 0, 3), np.float32), np.zeros(3, bool)).filled(99)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_longest_gap_is_the_longest(known):
    start, length = longest_gap(np.array(known))
    text = "".join("x" if one else "." for one in known)
    assert length == max(map(len, text.split("x")), default=0)
    assert text[start : start + length] == "." * length


def test_a_lost_face_is_looked_for_again():
    calls = []

    def first(frame):
        calls.append(("first", int(frame[0])))
        return frame[:, None] if frame[0] >= 2 else None

    def following(frame, previous):
        calls.append(("following", int(frame[0])))
        return None if frame[0] == 3 else frame[:, None]

    track = follow((np.array([k], np.float32) for k in range(6)), first, following)
    assert track.found.tolist() == [False, False, True, False, True, True]
    assert [name for name, _ in calls] == ["first"] * 3 + ["following"] + ["first", "following"]


def square(x):
    return np.array([[x, 0, 0], [x + 10, 10, 0]], np.float32)


def test_a_cut_is_refused_and_a_quick_move_is_not():
    moving = FaceTrack(np.stack([square(4 * k) for k in range(5)]), np.ones(5, bool))
    refuse_jumps(moving)
    jumping = FaceTrack(np.stack([square(0), square(1), square(30)]), np.ones(3, bool))
    with pytest.raises(InputError, match="jumps at 0.1 s"):
        refuse_jumps(jumping)
    refuse_jumps(FaceTrack(jumping.points, np.array([True, False, True])))
