"""Face-shaped masks from the 478 face landmarks: where the rendered face replaces the frame."""

from __future__ import annotations

import cv2
import numpy as np

from core.errors import InputError

CROP_SIDE = 512
_COARSE = 4  # masks are soft; they are drawn at a quarter of the size
_FEATHER = 0.07  # width of the soft edge over the height of the face
_JAW_ROOM = 0.07  # how far the jaw may drop, over the height of the face
_TOP, _CHIN = 10, 152
# Vertices whose convex hull is the region, and how much it grows around its centre.
REGIONS = {
    "face": (
        (
            *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
            *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
        ),
        1.05,
    ),
    "lower": (
        (
            *(323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93),
            *(2, 97, 326, 36, 266, 50, 280),
        ),
        1.04,
    ),
    "mouth": ((164, 167, 393, 165, 391, 216, 436, 212, 432, 202, 422, 204, 424, 200, 199, 208, 428), 1.15),
}


def face_region_mask(landmarks: np.ndarray, region: str = "face") -> np.ndarray:
    """The soft mask of a region of the face.

    Args:
        landmarks: (478, 2 or more) in pixels of the 512 crop.
        region: "face", "lower" (below the cheekbones) or "mouth".

    Returns:
        (512, 512) float32, 1 inside, 0 from the region's edge on. Raises InputError for an unknown region.
    """
    if region not in REGIONS:
        raise InputError(f"region is '{region}'; use crop, {', '.join(REGIONS)}")
    vertices, growth = REGIONS[region]
    points = landmarks[list(vertices), :2].astype(np.float32)
    down = (landmarks[_CHIN, :2] - landmarks[_TOP, :2]).astype(np.float32)
    centre = points.mean(axis=0)
    points = centre + growth * (points - centre)
    dropped = points + _JAW_ROOM * down
    below = (points - centre) @ down > 0
    hull = cv2.convexHull(np.concatenate([points, dropped[below]]))
    side = CROP_SIDE // _COARSE
    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, np.round(hull * 16 / _COARSE).astype(np.int32), 1, shift=4)
    mask[:1], mask[-1:], mask[:, :1], mask[:, -1:] = 0, 0, 0, 0  # the crop's own border never shows
    width = max(_FEATHER * float(np.linalg.norm(down)) / _COARSE, 2.0)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    ramp = np.clip((inside - 1) / width, 0, 1)
    soft = ramp * ramp * (3 - 2 * ramp)
    return np.clip(cv2.resize(soft, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)
