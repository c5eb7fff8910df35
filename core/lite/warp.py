"""Warp stage of the embedded pack: keypoints in, a deformation of the source crop out (spec lite.md 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.lite import mesh_regions as regions
from core.lite.appearance import LiteAppearance, LiteFeature
from core.lite.eyeball import Look, looks
from core.lite.held_head import held_head, moving_box
from core.lite.jaw import with_jaw
from core.lite.lids import EYES, closures
from core.lite.motion_space import CROP_SIZE, EYE_SLOTS, LID_PAIRS, LIP_SLOTS, NUM_KEYPOINTS, NUM_VERTICES, RIGID_SLOTS
from core.lite.mouth import MouthWarp, warp_mouth
from core.lite.pose import HeadPose, split_motion, to_pixels
from core.lite.rbf import Interpolant, cubic_matrix

HELD = 1e-5  # change of keypoints below which they rest, normalised units
BORDER = 32.0  # pixels over which all motion fades to none at the edge of the crop
GRID = 36  # nodes per side of the whole-crop flow grid
NECK_FOLLOW = 0.35  # share of the chin's rigid motion
HAIR_FADE = 60.0  # pixels from the border over which the hair ring comes to rest


@dataclass(frozen=True)
class Deformation:
    """How one frame differs from the source crop.

    Attributes:
        appearance: the portrait.
        box: (rows, columns) of the part that moves; None: all of it.
        maps: (2, h, w) float32; the pixel (x, y) of the source crop that each pixel of that part shows.
        mouth: the mouth's own geometry.
        lids: (2,) closure of left and right eye, 0..1.
        looks: where they look and how wide they are.
    """

    appearance: LiteAppearance
    box: tuple[slice, slice] | None
    maps: np.ndarray
    mouth: MouthWarp
    lids: np.ndarray
    looks: tuple[Look, ...]


class LiteWarp:
    """Turns source and driven keypoints into a deformation of the source crop."""

    def __init__(self, dense: np.ndarray) -> None:
        """`dense` (21, 478): displacement of all vertices = dense.T @ displacement of the keypoints."""
        if dense.shape != (NUM_KEYPOINTS, NUM_VERTICES):
            raise ValueError(f"dense map must be ({NUM_KEYPOINTS}, {NUM_VERTICES}), got {dense.shape}")
        self._dense = _local_lids(dense).T.astype(np.float64)
        ticks = np.linspace(0, CROP_SIZE - 1, GRID)
        self._nodes = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
        pixels = np.arange(CROP_SIZE, dtype=np.float32)
        edge = np.clip(np.minimum(pixels, CROP_SIZE - 1 - pixels) / BORDER, 0, 1)
        still = edge * edge * (3 - 2 * edge)
        self._up = cubic_matrix(pixels * (GRID - 1) / (CROP_SIZE - 1), GRID) * still[:, None]
        self._identity = np.stack(np.meshgrid(pixels, pixels))

    def warp(self, feature: LiteFeature, x_s: np.ndarray, x_d: np.ndarray) -> Deformation:
        """Deformation that takes the source's keypoints x_s to x_d, both (1, 21, 3) normalised (+-1 over the crop)."""
        app = feature.appearance
        pose, residual = split_motion(x_s[0], x_d[0])
        rigid, source = pose(app.mesh), to_pixels(x_s[0])
        driven = rigid + self._dense @ with_jaw(residual, source)
        own = residual @ pose.rotation.T / pose.scale
        lids, turned = closures(source, own, LID_PAIRS), looks(app.mesh, source, own, LID_PAIRS)
        moved = np.abs(x_d - x_s)[0].max(axis=1) > HELD
        if feature.look is not None and not moved[list(RIGID_SLOTS)].any():
            moved[list(LIP_SLOTS)] = False
            box = moving_box(app, bool(moved.any()))
            base = held_head(app, driven, box)
            maps = self._part(base, box)
        else:
            box, base = None, _whole_crop(app, pose, rigid, driven)
            maps = self._up @ np.ascontiguousarray(base(self._nodes).T).reshape(2, GRID, GRID) @ self._up.T
            maps += self._identity
        return Deformation(app, box, maps, warp_mouth(app, pose, driven, base), lids, turned)

    def _part(self, base: Interpolant, box: tuple[slice, slice]) -> np.ndarray:
        """Maps (2, h, w) of a part of the crop; motion fades to none at its edge."""
        rows, columns = (_nodes_for(side) for side in box)
        nodes = self._nodes.reshape(GRID, GRID, 2)[rows, columns]
        flow = np.moveaxis(base(nodes.reshape(-1, 2)).reshape(nodes.shape), -1, 0)
        up_y, up_x = (
            self._up[side, near] * _fade(side)[:, None] for side, near in zip(box, (rows, columns), strict=True)
        )
        return up_y @ np.ascontiguousarray(flow) @ up_x.T + self._identity[(slice(None), *box)]

    def __call__(self, feature: LiteFeature, x_s: np.ndarray, x_d: np.ndarray) -> Deformation:
        """Same as `warp`."""
        return self.warp(feature, x_s, x_d)


def _whole_crop(app: LiteAppearance, pose: HeadPose, rigid: np.ndarray, driven: np.ndarray) -> Interpolant:
    """Backward displacement of the whole crop from the rigidly moved and the fully driven mesh, both (478, 3)."""
    face, lids = app.face_control, list(regions.UPPER_LIDS)
    target = driven[:, :2].copy()
    target[lids] = rigid[lids, :2]
    hair = app.hair[:, :2]
    room = np.minimum(hair, CROP_SIZE - 1 - hair).min(axis=1, keepdims=True)
    hair_shift = np.clip(room / HAIR_FADE, 0, 1) * (pose(app.hair)[:, :2] - hair)
    chin_shift = rigid[regions.CHIN, :2] - app.mesh[regions.CHIN, :2]
    neck_shift = np.repeat(NECK_FOLLOW * chin_shift[None], len(app.neck), axis=0)
    source = np.concatenate([app.mesh[face, :2], hair, app.neck, app.anchors])
    shift = np.concatenate([target[face] - app.mesh[face, :2], hair_shift, neck_shift, np.zeros_like(app.anchors)])
    return Interpolant.fit(source + shift, -shift)


def _nodes_for(side: slice) -> slice:
    """Nodes of the flow grid that cubic interpolation asks for in a range of pixels."""
    first, last = (int(pixel * (GRID - 1) / (CROP_SIZE - 1)) for pixel in (side.start, side.stop - 1))
    return slice(max(first - 1, 0), min(last + 3, GRID))


def _fade(side: slice) -> np.ndarray:
    n = side.stop - side.start
    t = np.minimum(np.minimum(np.arange(n), np.arange(n)[::-1]) / BORDER, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def _local_lids(dense: np.ndarray) -> np.ndarray:
    """Keep lid keypoints from moving anything but lids: in the fitted map a blink also narrows the jaw a little."""
    out = dense.copy()
    elsewhere = np.ones(NUM_VERTICES, bool)
    elsewhere[[vertex for rings in EYES for ring in rings for vertex in ring]] = False
    out[np.ix_(EYE_SLOTS, elsewhere)] = 0
    return out
