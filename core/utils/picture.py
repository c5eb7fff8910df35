"""What every face model asks of a picture."""

from __future__ import annotations

import cv2
import numpy as np

from core.errors import InputError


def check_picture(rgb: np.ndarray) -> None:
    """Raise InputError unless `rgb` is (H, W, 3) uint8 and not empty."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        found = f"{rgb.dtype} {list(rgb.shape)}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise InputError(f"a picture for the face finder must be uint8 (height, width, 3) RGB, found {found}")


def sharpness(face_crop: np.ndarray) -> float:
    """Mean strength of the finest structure in the middle of a face crop, (H, W, 3) uint8; more is sharper."""
    height, width = face_crop.shape[:2]
    middle = face_crop[height // 4 : -height // 4, width // 4 : -width // 4]
    small = cv2.resize(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), (128, 128), interpolation=cv2.INTER_AREA)
    return float(np.abs(cv2.Laplacian(small, cv2.CV_32F)).mean())


def to_blob(picture: np.ndarray, scale: float = 1.0, mean: float = 0.0, swap: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32 `(v - mean) * scale`; `swap` exchanges the first and third channel."""
    return cv2.dnn.blobFromImage(picture, scale, mean=(mean,) * 3, swapRB=swap)
