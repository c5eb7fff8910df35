"""The rotated square that a face mesh looks at: from a face, to an upright crop, and back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

ROI_SCALE = 1.5  # side of the region over the longer side of the face


@dataclass(frozen=True)
class Roi:
    """A rotated square in image pixels: centre, side, and the angle of its x axis in radians (clockwise on screen)."""

    centre: tuple[float, float]
    side: float
    angle: float

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) or (n, 3) in units of the side, origin at the centre -> image pixels, same shape."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        out = np.asarray(points, np.float32) * np.float32(self.side)
        out[:, :2] = out[:, :2] @ np.array([[cos, sin], [-sin, cos]], np.float32) + np.float32(self.centre)
        return out


def crop_roi(rgb: np.ndarray, roi: Roi, size: int, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """The region as an upright (size, size, 3) picture; black outside `rgb` unless `border` says otherwise."""
    corners = roi.to_image(np.array([[-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5], [0.5, 0.5]]))
    target = np.array([[0, size], [0, 0], [size, 0], [size, size]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    return cv2.warpPerspective(rgb, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def roi_around(low: np.ndarray, high: np.ndarray, left_eye: np.ndarray, right_eye: np.ndarray) -> Roi:
    """Region of a face: its box from `low` (2,) to `high` (2,), upright along the eyes (2,), left as in the picture."""
    x, y = (low + high) / 2
    along = right_eye - left_eye
    return Roi((float(x), float(y)), float((high - low).max()) * ROI_SCALE, float(np.arctan2(along[1], along[0])))
