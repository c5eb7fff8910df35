"""How sharp a face is, so that what is drawn into it can be as sharp."""

from __future__ import annotations

import cv2
import numpy as np

from core.lite.motion_space import CROP_SIZE

SOFT_RATIO = (0.8, 0.5)  # ratio of fine to coarser detail in a sharp and in a much enlarged picture


def measure_softness(crop: np.ndarray, mesh: np.ndarray) -> float:
    """How much a face was enlarged or blurred, 0..1: its finest detail against detail twice as coarse."""
    low = np.clip(mesh[:, :2].min(axis=0).astype(int), 0, CROP_SIZE - 16)
    high = np.clip(mesh[:, :2].max(axis=0).astype(int), low + 16, CROP_SIZE)
    grey = cv2.cvtColor(crop[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY).astype(np.float32)
    once, twice = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1, 2))
    fine, coarse = (float(np.percentile(np.abs(detail), 95)) for detail in (grey - once, once - twice))
    sharp, soft = SOFT_RATIO
    return float(np.clip((sharp - fine / max(coarse, 0.5)) / (sharp - soft), 0, 1))
