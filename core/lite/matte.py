"""Opacity of the face crop, moved as the embedded pack moves the picture."""

from __future__ import annotations

import cv2
import numpy as np

from core.lite.warp import Deformation


def move_alpha(deformation: Deformation, alpha: np.ndarray) -> np.ndarray:
    """(512, 512) uint8 opacity of the source crop -> that of the rendered one."""
    how = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    if deformation.box is None:
        return cv2.remap(alpha, *deformation.maps, **how)
    moved = alpha.copy()
    moved[deformation.box] = cv2.remap(alpha, *deformation.maps, **how)
    return moved
