"""Eyes that look elsewhere, on a drawn eye whose parts are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.lite.eyeball import MAX_SIDE, Look
from core.lite.lids import EYES, EyePatch

SKIN, WHITE, IRIS = (200, 60, 40), (240, 240, 240), (20, 40, 220)
WIDTH, LEFT, ROW = 60, 226, 200


def drawn_eye(iris: float) -> tuple[np.ndarray, EyePatch, np.ndarray]:
    """Crop (512, 512, 3) with one eye, its patch, and where the eye is between its lids. `iris`: part of the width."""
    mesh = np.zeros((478, 3), np.float32)
    t = np.linspace(0, 1, 9)
    arch = 4 * t * (1 - t)
    upper, lower, crease = EYES[0]
    for ring, height in ((upper, -11), (lower, 11), (crease, -22)):
        mesh[list(ring), 0] = LEFT + WIDTH * t
        mesh[list(ring), 1] = ROW + height * arch
    mesh[[468, 473], :2] = LEFT + WIDTH * iris, ROW
    crop = np.full((512, 512, 3), SKIN, np.uint8)
    outline = np.concatenate([mesh[list(upper), :2], mesh[list(lower[::-1]), :2]])
    white = cv2.fillPoly(np.zeros((512, 512), np.uint8), [np.round(outline * 16).astype(np.int32)], 1, shift=4) > 0
    y, x = np.mgrid[0:512, 0:512]
    crop[white] = WHITE
    crop[white & (np.hypot(x - LEFT - WIDTH * iris, y - ROW) < 13)] = IRIS
    return crop, EyePatch.build(crop, mesh, EYES[0]), white


@pytest.fixture(scope="module")
def eye() -> tuple[np.ndarray, EyePatch, np.ndarray]:
    """An eye that looks ahead."""
    return drawn_eye(0.5)


def draw(eye, **look) -> np.ndarray:
    crop, patch, _ = eye
    out = crop.copy()
    patch.show(crop, out, 0.0, Look(**look))
    return out


def blue(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 2] > 150) & (picture[..., 0] < 100)


@pytest.mark.parametrize("side", [-MAX_SIDE, -MAX_SIDE / 2, MAX_SIDE / 2, MAX_SIDE])
def test_the_iris_goes_to_the_side_and_no_lid_comes_along(eye, side):
    crop, _, white = eye
    picture = draw(eye, side=side * WIDTH)
    trailing = min if side > 0 else max  # the other edge goes behind the corner
    before, after = (trailing(np.flatnonzero(blue(p)[ROW])) for p in (crop, picture))
    assert after - before == pytest.approx(side * WIDTH, abs=1.5)
    inner = cv2.erode(white.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    red = (picture[..., 0] > 150) & (picture[..., 1] < 120)
    assert not red[inner].any()


def test_skin_stays_when_the_eye_looks_aside(eye):
    crop, _, white = eye
    around = cv2.dilate(white.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    changed = np.abs(draw(eye, side=MAX_SIDE * WIDTH).astype(int) - crop).max(axis=-1)
    assert changed[around].max() <= 3


def test_an_eye_at_rest_is_left_alone(eye):
    assert np.array_equal(draw(eye), eye[0])


def test_looking_up_raises_the_iris_and_the_lid(eye):
    crop, _, white = eye
    picture = draw(eye, up=8.0)
    assert np.argwhere(blue(picture))[:, 0].mean() < np.argwhere(blue(crop))[:, 0].mean() - 1
    assert (picture[..., 1] > 150).sum() > (crop[..., 1] > 150).sum()


@pytest.mark.parametrize("way", [1, -1])
def test_a_corner_without_white_gets_that_of_the_other_one(way):
    eye = drawn_eye(0.5 - 0.28 * way)  # the iris touches one corner
    picture = draw(eye, side=way * MAX_SIDE * WIDTH)
    row = picture[ROW].astype(int)
    corner = LEFT + 8 if way > 0 else LEFT + WIDTH - 8
    assert row[corner].min() > 180  # stretched, it would be iris
