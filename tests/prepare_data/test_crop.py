"""The crop square against the reference's numbers, and what is cut out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.errors import InputError
from prepare_data.crop import cut, mean_box, square_rect
from prepare_data.face_tracks import FaceTrack


class AllPoints:
    """An analyser whose crop encloses all landmarks, as the official ones do."""

    @staticmethod
    def crop_points(points):
        return points[:, :2]


def test_boxes_and_rectangles_are_those_of_the_reference(golden):
    arrays, cases = golden("training_crop.npz"), golden("training_misc.json")["crop_geometry"]
    for number, case in enumerate(cases):
        points = arrays[f"crop/{number}/landmarks"]
        box = mean_box(FaceTrack(points, np.ones(len(points), bool)), AllPoints(), 2.2, -0.1)
        np.testing.assert_allclose(box, case["global_bbox"], atol=1e-3)
        assert list(square_rect(box)) == case["crop_rect_x1y1x2y2"]


def test_halves_are_rounded_to_even(golden):
    for case in golden("training_misc.json")["crop_rect_rounding"]:
        assert list(square_rect(np.array(case["bbox"]))) == case["rect"]


def test_what_leaves_the_frame_is_black():
    frame = np.full((40, 60, 3), 200, np.uint8)
    out = cut(frame, (-10, -20, 50, 40), cv2.BORDER_CONSTANT)
    assert out.shape == (512, 512, 3)
    inside = out[round(512 / 3) + 20 :, round(512 / 6) + 20 :]
    assert (inside == 200).all() and out[: round(512 / 3) - 20].max() == 0 and out[:, : round(512 / 6) - 20].max() == 0


def test_the_cut_is_where_the_rectangle_says():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[30:50, 40:60] = 255
    assert (cut(frame, (40, 30, 60, 50), cv2.BORDER_CONSTANT) == 255).all()
    assert cut(frame, (60, 30, 80, 50), cv2.BORDER_CONSTANT).max() == 0


def test_a_face_outside_the_picture_is_refused():
    with pytest.raises(InputError, match="outside"):
        cut(np.zeros((10, 10, 3), np.uint8), (20, 20, 40, 40), cv2.BORDER_CONSTANT)
