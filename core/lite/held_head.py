"""Warp of a face whose head keeps its pose, as in a video: only the part that moves is drawn anew."""

from __future__ import annotations

import numpy as np

from core.lite import mesh_regions as regions
from core.lite.appearance import LiteAppearance
from core.lite.motion_space import CROP_SIZE
from core.lite.rbf import Interpolant

ROOM = 24.0  # pixels around the jaw
MOUTH_ROOM = 0.6  # mouth widths around the lips
ASIDE = 1.25  # scale of the face oval at which the picture beside the jaw stands still
BESIDE_JAW = regions.JAW[1:7] + regions.JAW[-7:-1]
STILL_PER_SIDE = 8
_T = np.linspace(0, 1, STILL_PER_SIDE, endpoint=False)
_SQUARE = np.concatenate(  # (32, 2) points around the unit square
    [np.stack(side, 1) for side in ((_T, 0 * _T), (1 + 0 * _T, _T), (1 - _T, 1 + 0 * _T), (0 * _T, 1 - _T))]
)


def moving_box(app: LiteAppearance, whole: bool) -> tuple[slice, slice]:
    """(rows, columns) from beside the nose to below the chin, or from the forehead on for a `whole` face."""
    outline = regions.FACE_OVAL if whole else regions.JAW[2:-2]
    points = np.concatenate([app.mesh[list(outline), :2], app.neck])
    lips = app.mesh[list(regions.OUTER_LIPS), :2]
    room = MOUTH_ROOM * app.mouth.width
    low = np.minimum(points.min(axis=0) - ROOM, lips.min(axis=0) - room)
    high = np.maximum(points.max(axis=0) + ROOM, lips.max(axis=0) + room)
    low = np.clip(low.astype(int), 0, CROP_SIZE - 8)
    high = np.clip(high.astype(int), low + 8, CROP_SIZE)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def held_head(app: LiteAppearance, driven: np.ndarray, box: tuple[slice, slice]) -> Interpolant:
    """Backward displacement inside `box` from the driven mesh (478, 3); zero around the jaw and at the box's edge."""
    rows, columns = box
    low, high = np.array([columns.start, rows.start]), np.array([columns.stop, rows.stop])
    points = app.mesh[app.face_control, :2]
    inside = ((points > low) & (points < high)).all(axis=1)
    moving = app.face_control[inside & ~np.isin(app.face_control, regions.UPPER_LIDS)]  # lids are painted
    oval = app.mesh[list(regions.FACE_OVAL), :2]
    aside = oval.mean(axis=0) + ASIDE * (app.mesh[list(BESIDE_JAW), :2] - oval.mean(axis=0))
    still = np.concatenate([aside, app.neck, low + _SQUARE * (high - low)])
    target = driven[moving, :2]
    shift = np.concatenate([app.mesh[moving, :2] - target, np.zeros_like(still)])
    return Interpolant.fit(np.concatenate([target, still]), shift)
