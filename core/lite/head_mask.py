"""Where the head ends and the background begins, roughly: hair turns with the head, the background stands still."""

from __future__ import annotations

import cv2
import numpy as np

from core.lite import mesh_regions as regions
from core.lite.motion_space import CROP_SIZE

SIZE = 128  # pixels per side at which the picture is divided
CORE, REACH = 1.12, 1.9  # face oval scaled by these is surely head, and surely holds all of the head
HEAD_ROOM = 1.2  # scale of the face oval that still points stay out of
HAIR_RANGE = (1.08, 1.6)  # scale of the face oval at which the hair ring may lie
HAIR_STEPS = 14
TOLERANCE = 26.0  # Lab distance (8-bit) to the nearest colour of the picture's border: background
CLEARANCE = 24.0  # crop pixels that still points keep from head and neck
LATTICES = ((20, 0.0, 26.0), (6, 26.0, np.inf))  # still points per side tried, and how far beyond that: dense near by


def head_mask(crop: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """Divide a crop (512, 512, 3) uint8 with mesh (478, 3) by a watershed from face and border.

    Returns:
        (SIZE, SIZE) uint8, 1 on head and hair.
    """
    scale = SIZE / CROP_SIZE
    small = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    small = cv2.bilateralFilter(small, 5, 30, 3)
    markers = np.full((SIZE, SIZE), 2, np.int32)
    for factor, label in ((REACH, 0), (CORE, 1)):
        cv2.fillPoly(markers, [np.round(_scaled_oval(mesh, factor) * scale).astype(np.int32)], label)
    markers[:2], markers[:, :2], markers[:, -2:] = 2, 2, 2
    regions_found = cv2.watershed(small, markers)
    return cv2.morphologyEx((regions_found == 1).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))


def hair_ring(mask: np.ndarray, mesh: np.ndarray, depth: float) -> np.ndarray:
    """(17, 3) points beside and above the face as far out as the head mask reaches, `depth` pixels behind the oval."""
    oval = mesh[list(regions.UPPER_HALF_OVAL)]
    centre = mesh[list(regions.FACE_OVAL)].mean(axis=0)
    factors = np.linspace(*HAIR_RANGE, HAIR_STEPS)
    ring = []
    for point in oval:
        steps = centre + factors[:, None] * (point - centre)
        reached = [k for k, p in enumerate(steps) if _at(mask, p)]
        ring.append(steps[reached[-1] if reached else 0])
    out = np.array(ring)
    out[:, 2] = oval[:, 2] + depth
    return out


def still_points(crop: np.ndarray, mask: np.ndarray, mesh: np.ndarray, neck: np.ndarray) -> np.ndarray:
    """(n, 2) points inside the crop that stay where they are: background and chest, clear of head and neck.

    Above the chin they must also have a colour of the picture's border, so that hair left out of the mask can move.
    """
    solid = mask.copy()
    scale = SIZE / CROP_SIZE
    for outline in (_scaled_oval(mesh, HEAD_ROOM), np.concatenate([mesh[list(regions.FACE_OVAL), :2], neck])):
        cv2.fillConvexPoly(solid, cv2.convexHull(np.round(outline * scale).astype(np.int32)), 1)
    distance = cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5) / scale
    chin = float(mesh[regions.CHIN, 1])
    background = _background(crop, chin * scale)
    found = []
    for side, near, far in LATTICES:
        ticks = np.linspace(0, CROP_SIZE - 1, side + 2)[1:-1]
        for point in np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2):
            beyond = _at(distance, point) - CLEARANCE
            if near < beyond <= far and (point[1] > chin or _at(background, point)):
                found.append(point)
    return np.array(found).reshape(-1, 2)


def _background(crop: np.ndarray, chin_row: float) -> np.ndarray:
    """(SIZE, SIZE) bool: pixels that look like the picture's border above the chin."""
    small = cv2.GaussianBlur(cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA), (0, 0), 1.5)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    rows = max(int(min(chin_row, SIZE)), 4)
    border = np.concatenate([lab[1], lab[:rows, 1], lab[:rows, -2]])[::2]
    pixels = lab.reshape(-1, 3)
    squared = (pixels**2).sum(1)[:, None] - 2 * pixels @ border.T + (border**2).sum(1)
    return (squared.min(axis=1) < TOLERANCE**2).reshape(SIZE, SIZE)


def _at(picture: np.ndarray, point: np.ndarray) -> float:
    column, row = np.clip((point[:2] * SIZE / CROP_SIZE).astype(int), 0, SIZE - 1)
    return picture[row, column]


def _scaled_oval(mesh: np.ndarray, factor: float) -> np.ndarray:
    oval = mesh[list(regions.FACE_OVAL), :2]
    centre = oval.mean(axis=0)
    scaled = centre + factor * (oval - centre)
    chin = mesh[regions.CHIN, :2]
    axis = chin - mesh[10, :2]
    beyond = np.maximum((scaled - chin) @ axis / max(float(axis @ axis), 1e-6), 0)
    return scaled - beyond[:, None] * axis
