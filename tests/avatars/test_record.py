"""The arrays of a source, and how gaps between analysed frames are filled."""

import numpy as np
import pytest
from records import record

from core.avatars.record import AvatarRecord


def test_gaps_are_interpolated_and_ends_held():
    rows = record([0, 1, 1, 0, 0, 0, 1, 0]).spread()
    want = [1, 1, 2, 3, 4, 5, 6, 6]
    for values in (rows.motion, rows.M_c2o, rows.eye_open, rows.eye_ball, rows.mesh):
        np.testing.assert_allclose(values.reshape(8, -1)[:, 0], want)
        assert values.dtype == np.float32
    assert rows.as_motion().kp.shape == (8, 63)


def test_interpolation_is_in_time_not_in_frames():
    rows = record([1, 0, 1], times=[1, 3, 2]).spread()
    np.testing.assert_allclose(rows.eye_open[:, 0], [0, 0.5, 1, 1.5, 2, 2])


def test_without_gaps_nothing_is_changed():
    whole = record([1] * 4, times=[1, 2, 1, 1])
    np.testing.assert_array_equal(whole.spread().mesh, whole.mesh[[0, 1, 1, 2, 3]])


def test_first_frames_and_what_they_are_enough_for():
    part = record([1] * 4, complete=False)
    assert part.enough_for(3) and part.enough_for(4) and not part.enough_for(5) and not part.enough_for(-1)
    assert record([1] * 4).enough_for(5) and record([1] * 4).enough_for(-1)
    assert len(part.first(2).shown) == 2 and len(part.first(-1).shown) == len(part.first(9).shown) == 4


def test_arrays_that_do_not_fit_are_refused():
    good = record([1, 1])
    arrays = {name: getattr(good, name) for name in AvatarRecord.__dataclass_fields__}
    for name, value in (("mesh", good.mesh[:1]), ("shown", np.array([0, 2])), ("shown", np.zeros(0, int))):
        with pytest.raises(ValueError, match="avatar record"):
            AvatarRecord(**{**arrays, name: value})
