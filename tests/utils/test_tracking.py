"""Which face is the same from frame to frame, and a crop that follows it calmly."""

import numpy as np
import pytest

from core.utils.crop import Square
from core.utils.tracking import SteadySquare, is_same_face

SIZE = (640, 480)
FACE = np.random.default_rng(0).uniform(-50, 50, (203, 2)).astype(np.float32) + [300, 200]


@pytest.mark.parametrize(
    "change, same",
    [
        (lambda p: p, True),
        (lambda p: p + [30, -20], True),
        (lambda p: p + [60, 0], False),
        (lambda p: (p - [300, 200]) * 1.3 + [300, 200], True),
        (lambda p: (p - [300, 200]) * 1.5 + [300, 200], False),
        (lambda p: (p - [300, 200]) * 0.6 + [300, 200], False),
        (lambda p: p * np.nan, False),
    ],
)
def test_what_may_be_the_same_face(change, same):
    assert is_same_face(change(FACE), FACE, SIZE) is same


def test_a_face_outside_the_frame_is_not_believed():
    assert not is_same_face(FACE + [400, 0], FACE + [390, 0], SIZE)


def square(x=300.0, y=200.0, side=400.0, angle=0.0):
    return Square(np.array([x, y]), side, angle)


def test_the_crop_rests_while_the_face_trembles():
    rng, steady = np.random.default_rng(0), SteadySquare()
    first = steady(square())
    for _ in range(50):
        now = steady(square(*(np.array([300, 200, 400]) + rng.uniform(-8, 8, 3)), rng.uniform(-0.05, 0.05)))
        assert np.array_equal(now.centre, first.centre) and now.side == pytest.approx(first.side)


def test_the_crop_follows_smoothly_and_arrives():
    steady, before = SteadySquare(), np.array([300.0, 200.0])
    steady(square())
    for k in range(60):
        now = steady(square(300 + 60 * min(k / 10, 1), side=440, angle=0.3))
        assert np.abs(now.centre - before).max() < 10  # of the 60 pixels that the face went
        before = now.centre
    assert abs(now.centre[0] - 360) < 4 and abs(now.side - 440) < 10 and abs(now.angle - 0.3) < 0.03


def test_a_cut_is_followed_at_once_and_angles_take_the_short_way():
    steady = SteadySquare()
    steady(square(angle=3.1))
    assert abs(abs(steady(square(angle=-3.1)).angle) - np.pi) < 0.1
    assert steady(square(x=600)).centre[0] == 600
