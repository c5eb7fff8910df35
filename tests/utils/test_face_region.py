"""Face-shaped masks: what they cover, and that they fade out before the crop ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.lite.face_tracker import FaceTracker
from core.media import read_image
from core.packs.pack import EMBEDDED
from core.utils.face_region import REGIONS, face_region_mask

PORTRAIT = Path(__file__).resolve().parents[2] / "example" / "portrait.png"
EYE, NOSE, MOUTH, CHIN = 159, 4, 13, 152


@pytest.fixture(scope="module")
def mesh() -> np.ndarray:
    faces, _ = FaceTracker.load(EMBEDDED).static(read_image(PORTRAIT, 512))
    points = faces[0].mesh[:, :2]
    return (points - points.mean(axis=0)) * (250 / np.ptp(points, axis=0).max()) + 256


def value(mask: np.ndarray, mesh: np.ndarray, vertex: int) -> float:
    x, y = mesh[vertex].astype(int)
    return float(mask[y, x])


@pytest.mark.parametrize(
    "region, inside, outside",
    [
        ("face", (EYE, NOSE, MOUTH), ()),
        ("lower", (MOUTH,), (EYE,)),
        ("mouth", (MOUTH,), (EYE, NOSE)),
    ],
)
def test_regions_hold_what_they_say(mesh, region, inside, outside):
    mask = face_region_mask(mesh, region)
    assert mask.dtype == np.float32 and mask.shape == (512, 512) and 0 <= mask.min() and mask.max() <= 1
    assert all(value(mask, mesh, vertex) > 0.95 for vertex in inside)
    assert all(value(mask, mesh, vertex) < 0.05 for vertex in outside)
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) == 0


def test_edges_are_soft(mesh):
    for region in REGIONS:
        mask = face_region_mask(mesh, region)
        assert max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max()) < 0.2


def test_jaw_has_room_to_drop(mesh):
    mask = face_region_mask(mesh, "face")
    x, y = mesh[CHIN].astype(int)
    assert mask[y + 4, x] > 0.1


def test_faces_larger_than_the_crop_fade_at_its_border(mesh):
    mask = face_region_mask((mesh - 256) * 2.5 + 256, "face")
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) == 0


def test_unknown_region(mesh):
    with pytest.raises(InputError, match="use crop, face, lower, mouth"):
        face_region_mask(mesh, "nose")
