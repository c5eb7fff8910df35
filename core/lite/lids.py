"""Blinks: upper lid skin swept over the eye, painted into the source crop before it is warped (spec lite.md 4.5).

The eyes' geometry is fixed in the source crop, so all maps are made once per avatar; a frame only needs the closure.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.lite import mesh_regions as regions
from core.lite.eyeball import START, EyeBall, Look

LASHES = 0.06  # of the eye width, moved with the lid edge without stretching
ANCHOR = 0.10  # of the eye width, above the crease: where the swept skin starts
FULL_CLOSURE = 0.86  # closure of the keypoints at which the lids meet; tracked lids never touch quite
OVERLAP = 1.0  # of the lash height that a shut lid covers of the lower one
EDGE = 1.2  # pixels, softness of the lid edge
CREASE_SHADE = 0.10
SKIN_MIX = 0.7  # share of smoothed, evened skin in a fully closed lid

EYES = (
    (regions.LEFT_EYE_UPPER, regions.LEFT_EYE_LOWER, regions.LEFT_EYE_CREASE),
    (regions.RIGHT_EYE_UPPER, regions.RIGHT_EYE_LOWER, regions.RIGHT_EYE_CREASE),
)


@dataclass(frozen=True)
class EyePatch:
    """One eye of the source crop; all maps are (h, w) float32 over `box`, in pixels along the eye's own axes.

    Attributes:
        box: slices into the crop (rows, columns).
        normal: unit vector pointing from the upper to the lower lid.
        v: distance of each pixel below the eye axis.
        lid, lower, anchor: the same for the open upper lid, the lower lid and the start of the swept skin, per column.
        lashes: height of the unstretched strip, pixels.
        fade: weight at the anchor and at the eye corners, 0..1.
        depth: 0 at the anchor, rising to 1 where swept skin may be evened out.
        edge: softness of the lid edge, pixels.
        skin: (h, w, 3) float32 smoothed lid skin of the source.
        grid: (x, y) pixel positions.
        ball: the eye between the lids.
    """

    box: tuple[slice, slice]
    normal: np.ndarray
    v: np.ndarray
    lid: np.ndarray
    lower: np.ndarray
    anchor: np.ndarray
    lashes: float
    fade: np.ndarray
    depth: np.ndarray
    edge: float
    skin: np.ndarray
    grid: tuple[np.ndarray, np.ndarray]
    ball: EyeBall

    @classmethod
    def build(
        cls, crop: np.ndarray, mesh: np.ndarray, rings: tuple[tuple[int, ...], ...], softness: float = 0.0
    ) -> EyePatch:
        """Measure one eye of a crop (512, 512, 3) with a mesh (478, 3); `rings` are upper lid, lower lid and crease."""
        upper, lower, crease = (mesh[list(ring), :2].astype(np.float64) for ring in rings)
        width = max(float(np.linalg.norm(upper[-1] - upper[0])), 4.0)
        axis = (upper[-1] - upper[0]) / width
        normal = np.array([-axis[1], axis[0]])
        box, xs, ys = _box(np.concatenate([upper, lower, crease]), width, crop.shape)
        u, v = ((xs - upper[0, 0]) * d[0] + (ys - upper[0, 1]) * d[1] for d in (axis, normal))
        lid, low, fold = (_curve(ring, upper[0], axis, normal, u, 0.04 * width) for ring in (upper, lower, crease))
        low = np.maximum(low, lid)
        anchor = np.minimum(fold, lid) - ANCHOR * width
        ends = np.clip(np.minimum(u, width - u) / (0.06 * width) + 1, 0, 1)
        fade = np.clip((v - anchor) / (0.08 * width), 0, 1) * ends
        depth = np.clip((v - anchor) / (0.34 * width), 0, 1)
        clear = (v < lid - 1.2 * LASHES * width) | (v > low + 0.10 * width)
        near = (v > anchor - 0.05 * width) & (v < low + 0.35 * width) & (u > 0) & (u < width)
        skin = _lid_skin(crop[box], clear & near, width)
        u, v, lid, low, anchor, fade, depth, xs, ys = (
            np.ascontiguousarray(m, np.float32) for m in (u, v, lid, low, anchor, fade, depth, xs, ys)
        )
        iris = mesh[[468, 473], :2]
        at = float((iris[np.linalg.norm(iris - upper.mean(axis=0), axis=1).argmin()] - upper[0]) @ axis)
        ball = EyeBall(box, axis, normal, u, v, lid, low, anchor, width, max(float((low - lid).max()), 1.0), at)
        edge = EDGE + 2 * softness
        return cls(box, normal, v, lid, low, anchor, LASHES * width, fade, depth, edge, skin, (xs, ys), ball)

    def show(self, crop: np.ndarray, out: np.ndarray, closure: float, look: Look) -> None:
        """Draw the eye of `crop` into `out`, both (512, 512, 3) uint8: looking as told, then closed as far as told."""
        self.ball.draw(crop, out, look)
        closure += (1 - closure) * max(-self.ball.lid_follow(look), 0.0)
        if closure > START:
            self.paint(crop, out, closure)

    def paint(self, crop: np.ndarray, out: np.ndarray, closure: float) -> None:
        """Draw the lid from `crop` into `out`, both (512, 512, 3) uint8; closure 0 is open as in the source, 1 shut."""
        edge = self.lid + closure * (self.lower - self.lid + OVERLAP * self.lashes)
        stretched = edge - self.lashes - self.anchor
        ratio = np.maximum(self.lid - self.lashes - self.anchor, 1) / np.maximum(stretched, 1)
        shift = np.maximum((self.v - self.anchor) * (ratio - 1), self.lid - edge)
        map_x, map_y = (at + shift * np.float32(d) for at, d in zip(self.grid, self.normal, strict=True))
        patch = cv2.remap(crop, map_x, map_y, cv2.INTER_LINEAR).astype(np.float32)
        under = np.clip((edge - self.lashes - self.v) / self.lashes, 0, 1) * self.depth
        patch += (SKIN_MIX * closure * under)[..., None] * (self.skin - patch)
        patch *= (1 - CREASE_SHADE * closure * np.exp(-(((self.v - self.lid) / (1.5 * self.lashes)) ** 2)))[..., None]
        alpha = np.clip((edge - self.v) / self.edge + 0.5, 0, 1) * self.fade * min(1.0, closure * 12)
        base = out[self.box].astype(np.float32)
        out[self.box] = (base + alpha[..., None] * (patch - base) + 0.5).astype(np.uint8)


def closures(source: np.ndarray, residual: np.ndarray, lid_pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Closure of each eye, 0..1, from source keypoints and expression residual (21, 3) in the same frame."""
    out = []
    for upper, lower in lid_pairs:
        gap = source[lower, :2] - source[upper, :2]
        size = max(float(gap @ gap), 1e-6)
        driven = float((gap + residual[lower, :2] - residual[upper, :2]) @ gap) / size
        closed = np.clip((1 - driven) / FULL_CLOSURE, 0, 1)
        out.append(closed * closed * (3 - 2 * closed) * 0.35 + closed * 0.65)
    return np.array(out)


def _box(
    points: np.ndarray, width: float, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    low = np.floor(points.min(axis=0) - 0.25 * width).astype(int).clip(0, [shape[1] - 2, shape[0] - 2])
    high = np.ceil(points.max(axis=0) + 0.25 * width).astype(int).clip(low + 2, [shape[1], shape[0]])
    ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float64)
    return (slice(low[1], high[1]), slice(low[0], high[0])), xs, ys


def _curve(
    ring: np.ndarray, origin: np.ndarray, axis: np.ndarray, normal: np.ndarray, u: np.ndarray, blur: float
) -> np.ndarray:
    ring_u, ring_v = (ring - origin) @ axis, (ring - origin) @ normal
    order = np.argsort(ring_u)
    fine = np.linspace(u.min(), u.max(), 256)
    step = max(float(fine[1] - fine[0]), 1e-6)
    values = cv2.GaussianBlur(np.interp(fine, ring_u[order], ring_v[order])[None], (0, 0), blur / step)[0]
    return np.interp(u, fine, values)


def _lid_skin(patch: np.ndarray, skin: np.ndarray, width: float) -> np.ndarray:
    """Evenly coloured lid, from the skin around the eye: lashes, make-up and brows would smear when stretched."""
    picture = patch.astype(np.float32)
    if skin.sum() < 12:
        return cv2.GaussianBlur(picture, (0, 0), 0.1 * width)
    grey = picture.mean(axis=-1)
    weight = (skin & (grey >= np.quantile(grey[skin], 0.45))).astype(np.float32)[..., None]
    total = weight.sum()
    colour = (picture * weight).sum(axis=(0, 1)) / total
    blurred, share = (cv2.GaussianBlur(m, (0, 0), 0.16 * width) for m in (picture * weight, weight[..., 0]))
    smooth = (blurred + 0.05 * colour) / (share[..., None] + 0.05)
    return 0.93 * (0.6 * smooth + 0.4 * colour)
