"""Jaws of widely open mouths: where the chin of the picture is, and how far it goes along with the lips."""

from __future__ import annotations

import numpy as np

from core.lite import mesh_regions as regions
from core.lite.motion_space import CHIN, LEFT_CORNER, RIGHT_CORNER, SLOT_VERTICES

CHIN_GAP = 0.25  # least height of chin below the lower lip, in distances of the outer eye corners
LOWER_LIP, NOSE = 17, 2  # vertices: lower edge of the lip, base of the nose
LIP_SLOT = SLOT_VERTICES.index(LOWER_LIP)
SIDE = 0.45  # distances of the outer eye corners beside the chin over which the correction fades
WHOLE_JAW = (0.1, 0.4)  # mouth widths that the lower lip rises: from here the chin follows more, there all the way


def with_chin(mesh: np.ndarray) -> np.ndarray:
    """Mesh (478, 3) whose chin lies below the lower lip: in a shout the tracker leaves it behind."""
    left, right = (mesh[i] for i in regions.EYE_OUTER)
    unit = max(float(np.linalg.norm(right - left)), 1e-6)
    across = (right - left)[:2] / max(float(np.linalg.norm((right - left)[:2])), 1e-6)
    down = np.array([-across[1], across[0]])
    height, aside = mesh[:, :2] @ down, (mesh[:, :2] - mesh[regions.CHIN, :2]) @ across
    missing = CHIN_GAP * unit - (height[regions.CHIN] - height[LOWER_LIP])
    if missing <= 0:
        return mesh
    share = np.maximum(height - height[NOSE], 0) / max(float(height[regions.CHIN] - height[NOSE]), 1e-6)
    share *= np.exp(-((aside / (SIDE * unit)) ** 2))
    share[list(regions.ALL_LIPS)] = 0
    out = mesh.copy()
    out[:, :2] += missing * share[:, None] * down
    return out


def with_jaw(residual: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Expression residual (21, 3) whose chin rises with the lip of a wide mouth; `source` keypoints in its unit."""
    lip, across = residual[LIP_SLOT], source[RIGHT_CORNER] - source[LEFT_CORNER]
    rise = float(lip[0] * across[1] - lip[1] * across[0]) / max(float(across @ across), 1e-6)  # mouth widths
    low, high = WHOLE_JAW
    share = min(max((rise - low) / (high - low), 0.0), 1.0)
    if share == 0:
        return residual
    out = residual.copy()
    out[CHIN] += share * share * (3 - 2 * share) * (lip - out[CHIN])
    return out
