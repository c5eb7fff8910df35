"""Frames of speech at other rates: how many, which source frame, and where between."""

from fractions import Fraction

import numpy as np
import pytest

from core.atomic_components.retime import Retime
from core.avatars.avatar import Frame
from core.motion import Motion, MotionSpace, frame_rate, frames_at


@pytest.fixture
def retimed(avatar):
    """retimed(rate, n) -> frames made of n frames of speech, whose face is k to the right of the source in frame k."""

    def run(rate, n, still=False, once=False):
        source = Motion(np.zeros((1 if still else 7, 265), np.float32), np.zeros((1 if still else 7, 63), np.float32))
        source.data[:, 199] = np.arange(len(source)) * 100
        person = avatar(source)
        person.rate = rate
        person.loop = "once" if once else "mirror"
        stage, out = Retime(person, MotionSpace()), []
        for k in range(n):
            x_s = np.full((1, 21, 3), 5.0, np.float32)
            out += stage(Frame(k, 0, x_s=x_s, x_d=x_s + np.float32([k, 0, 0])))
        return [*out, *stage.finish()]

    return run


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30), Fraction(60), Fraction(10), Fraction(30000, 1001)])
def test_every_moment_is_shown_once(retimed, rate):
    frames = retimed(rate, 9)
    assert [frame.index for frame in frames] == list(range(frames_at(9, rate)))
    shift = np.array([(frame.x_d - frame.x_s)[0, 0, 0] for frame in frames])
    np.testing.assert_allclose(shift, np.minimum(np.arange(len(frames)) * 25 / float(rate), 8), atol=1e-4)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(60), Fraction(10), Fraction(30000, 1001)])
def test_a_source_that_is_shown_once_has_no_more_frames(retimed, rate):
    frames = retimed(rate, 26, once=True)
    assert [frame.source for frame in frames] == list(range(7))


def test_source_frames_come_one_by_one_with_their_own_place(retimed):
    frames = retimed(Fraction(50), 5)
    assert [frame.source for frame in frames] == [0, 1, 2, 3, 4, 5, 6, 6, 5, 4]
    assert [frame.x_s[0, 0, 0] for frame in frames] == [100 * frame.source for frame in frames]


def test_rates_of_ntsc_are_meant_exactly():
    assert [frame_rate(fps) for fps in (23.976, 29.97, 59.94)] == [Fraction(n * 1000, 1001) for n in (24, 30, 60)]
    assert [frame_rate(fps) for fps in (25, 30.0, 12.5, 29.5)] == [25, 30, Fraction(25, 2), Fraction(59, 2)]
