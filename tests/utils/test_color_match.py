"""Colour matching brings a cast back to the frame's colours, and changes nothing that fits already."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.utils.color_match import ColorMatch
from core.utils.mask import feather_mask


@pytest.fixture
def scene() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.uniform(70, 180, (8, 8, 3)).astype(np.float32), (512, 512), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def test_a_matching_face_stays_as_it_is(scene):
    out = ColorMatch()(scene, scene, feather_mask(512, 512, 0.5, 0.5))
    assert np.abs(out - scene).max() < 0.5


def test_a_cast_is_removed(scene):
    cast = np.clip(scene * np.array([1.0, 0.94, 0.9]) + 10, 0, 255).astype(np.uint8)
    out = ColorMatch()(cast, scene, feather_mask(512, 512, 0.5, 0.5))
    before, after = np.abs(cast.astype(float) - scene).mean(), np.abs(out - scene).mean()
    assert after < 0.3 * before


def test_corrections_do_not_jump_from_frame_to_frame(scene):
    mask = feather_mask(512, 512, 0.5, 0.5)
    match = ColorMatch()
    first = match(scene, scene, mask)
    second = match(scene, np.clip(scene.astype(int) + 30, 0, 255).astype(np.uint8), mask)
    assert 0.5 < np.mean(second - first) < 6


def test_without_a_seam_nothing_is_compared(scene):
    assert np.array_equal(ColorMatch()(scene, 255 - scene, np.ones((512, 512), np.float32)), scene)
