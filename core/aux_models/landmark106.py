"""106 landmarks of a detected face: the first, rough ones (spec models.md 12.2)."""

from __future__ import annotations

import cv2
import numpy as np

from core.aux_models.session import run_single, shaped
from core.backends.session import Session
from core.utils.crop import transform_points
from core.utils.picture import check_picture, to_blob

INPUT_SIZE = 192
NUM_POINTS = 106
BOX_SCALE = 1.5  # side of the network's view over the longer side of the box


class Landmark106:
    """Landmarks of the face in a box. Calls are independent of each other."""

    def __init__(self, session: Session):
        self._session = session

    def __call__(self, rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Points (106, 2) float32 in pixels of `rgb` (H, W, 3) uint8; `box` (4,) x0, y0, x1, y1."""
        check_picture(rgb)
        to_view = view_matrix(box)
        view = cv2.warpAffine(rgb, to_view, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR)
        out = next(iter(run_single(self._session, to_blob(view, swap=True)).values()))
        points = (shaped(self._session, out, 2)[-NUM_POINTS:] + 1) * (INPUT_SIZE / 2)
        return transform_points(points, cv2.invertAffineTransform(to_view)).astype(np.float32)


def view_matrix(box: np.ndarray) -> np.ndarray:
    """(2, 3) float64: picture -> pixels of the network's view of `box` (4,)."""
    x0, y0, x1, y1 = (float(v) for v in box[:4])
    scale = INPUT_SIZE / (BOX_SCALE * max(x1 - x0, y1 - y0, 1.0))
    half = INPUT_SIZE / 2
    return np.array([[scale, 0, half - scale * (x0 + x1) / 2], [0, scale, half - scale * (y0 + y1) / 2]])
