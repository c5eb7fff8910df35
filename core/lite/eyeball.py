"""Eyes that look elsewhere or open wider: the source's own eye, moved and stretched between its lids.

A frame of the source shows what it shows of an eye. To look aside, the iris is moved as a whole and the white beside it
is stretched or squeezed up to the corner; to look up or down, and to open wider, the eye is stretched along the lids'
way, and the lids follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

IRIS = 0.23  # radius over eye width
EDGE = 0.04  # of the eye width: softness of the lids' edges
STRETCHED = 0.65  # part of the opening that a wider eye stretches, from the upper lid
MAX_SIDE, MAX_UP, MAX_WIDE = 0.22, 0.24, 0.5  # of the eye width, of the opening, of the opening
FULL_UP = 0.8  # openings to look up that show as MAX_UP: more stretch would fold the picture
LID_FOLLOW = 1.6  # how far upper lids go along with what is shown, in openings per opening; up half as far as down
START = 0.004  # of those units: less changes no pixel
LEAST_SHIFT = 0.05  # pixels
ENOUGH_WHITE = 0.6  # of the white on the other side of the iris: a corner that shows so much is stretched
LEAST_WHITE = 0.08  # of the eye width: less is not mirrored


@dataclass(frozen=True)
class Look:
    """What an eye is to do.

    Attributes:
        side: pixels of the crop to the right. up: pixels. wide: growth of the opening, 0 as it is.
    """

    side: float = 0.0
    up: float = 0.0
    wide: float = 0.0

    @property
    def is_rest(self) -> bool:
        """Whether nothing would change."""
        return max(abs(self.side), abs(self.up)) < LEAST_SHIFT and self.wide < START


@dataclass(frozen=True)
class EyeBall:
    """One eye of the source crop; maps are (h, w) float32 over `box`, in pixels along the eye's own axes.

    Attributes:
        box: slices into the crop. axis, normal: unit vectors along the eye and from the upper to the lower lid.
        u, v: place of each pixel along them. lid, lower, anchor: v of the lids and of the skin's start, per column.
        width, opening: of the eye, pixels. iris: u of its centre.
    """

    box: tuple[slice, slice]
    axis: np.ndarray
    normal: np.ndarray
    u: np.ndarray
    v: np.ndarray
    lid: np.ndarray
    lower: np.ndarray
    anchor: np.ndarray
    width: float
    opening: float
    iris: float

    def lid_follow(self, look: Look) -> float:
        """Growth of the opening that comes with looking up; negative, a closure, with looking down."""
        up = self._up(look)
        return LID_FOLLOW * up * (0.5 if up > 0 else 1.0)

    def draw(self, crop: np.ndarray, out: np.ndarray, look: Look) -> None:
        """Draw the eye of `crop` into `out`, both (512, 512, 3) uint8."""
        side = float(np.clip(look.side / self.width, -MAX_SIDE, MAX_SIDE))
        up = self._up(look)
        wide = float(np.clip(look.wide + max(self.lid_follow(look), 0), 0, MAX_WIDE))
        if max(abs(side), abs(up), wide) < START:
            return
        dv = self._widened(wide)
        if wide >= START:
            out[self.box] = self._remapped(crop, 0, dv)
        if max(abs(side), abs(up)) < START:
            return
        v = self.v + dv
        du, shift = self._moved(v, side * self.width, up)
        high, low = self._lids_at(du)
        moved = self._remapped(crop, du, np.clip(v + shift, high, np.maximum(low, high)) - self.v)
        moved = self._with_white(crop, moved, v, side * self.width)
        inside = np.clip((v - self.lid) / self._edge, 0, 1) * np.clip((self.lower - v) / self._edge, 0, 1)
        base = out[self.box].astype(np.float32)
        out[self.box] = (base + inside[..., None] * (moved - base) + 0.5).astype(np.uint8)

    def _with_white(self, crop: np.ndarray, moved: np.ndarray, v: np.ndarray, side: float) -> np.ndarray:
        """Where the iris moves away from a corner whose white the source hides, the mirrored white of the other one."""
        sign = 1.0 if side > 0 else -1.0  # of the way from the bared corner to the iris
        radius = IRIS * self.width
        here, there = self.iris - radius, self.width - self.iris - radius  # white on the left and on the right
        if sign < 0:
            here, there = there, here
        here = max(here, 0.0)
        if there < LEAST_WHITE * self.width or here >= ENOUGH_WHITE * there or abs(side) < START * self.width:
            return moved
        share = 1 - here / (ENOUGH_WHITE * there)
        bared = here + abs(side)  # from the corner to the moved iris
        way = sign * (self.iris - self.u) - radius + abs(side)  # from the moved iris towards the corner
        du = self.iris + sign * (radius + way * there / bared) - self.u
        high, low = self._lids_at(du)
        part = np.clip((v - self.lid) / np.maximum(self.lower - self.lid, 1), 0, 1)
        white = self._remapped(crop, du, high + part * np.maximum(low - high, 0) - self.v)
        weight = share * np.clip(way / self._edge, 0, 1)[..., None]
        return moved + weight * (white.astype(np.float32) - moved)

    @property
    def _edge(self) -> float:
        return EDGE * self.width

    def _places(self, du: np.ndarray | float, dv: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Maps (h, w) float32 of pixels within the box, displaced along and across the eye."""
        ys, xs = np.mgrid[: self.u.shape[0], : self.u.shape[1]].astype(np.float32)
        places = xs + du * self.axis[0] + dv * self.normal[0], ys + du * self.axis[1] + dv * self.normal[1]
        return places[0].astype(np.float32), places[1].astype(np.float32)

    def _remapped(self, crop: np.ndarray, du: np.ndarray | float, dv: np.ndarray) -> np.ndarray:
        return cv2.remap(crop[self.box], *self._places(du, dv), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def _lids_at(self, du: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights of the upper and lower edge of the eye where displaced pixels come from; beyond is no eye."""
        places = self._places(du, 0)
        high, low = (
            cv2.remap(m, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for m in (self.lid, self.lower)
        )
        return high + self._edge, low - self._edge

    def _up(self, look: Look) -> float:
        """How far up the eye is shown to look, in openings."""
        return MAX_UP * float(np.clip(look.up / self.opening / FULL_UP, -1, 1))

    def _widened(self, wide: float) -> np.ndarray:
        """How much lower each pixel's source lies when the upper lid goes up by `wide` openings."""
        if wide < START:
            return np.zeros_like(self.v)
        gap = np.maximum(self.lower - self.lid, 0) * self._between_corners()
        middle = self.lid + STRETCHED * gap
        raised = np.maximum(self.lid - wide * gap, self.anchor + 0.3 * (self.lid - self.anchor))
        skin = np.clip((self.v - self.anchor) / np.maximum(raised - self.anchor, 1e-3), 0, 1)
        eye = np.clip((middle - self.v) / np.maximum(middle - raised, 1e-3), 0, 1)
        return np.where(self.v < raised, skin, eye) * (self.lid - raised)

    def _moved(self, v: np.ndarray, side: float, up: float) -> tuple[np.ndarray, np.ndarray]:
        """Displacement of the source along and across the eye, for pixels that show height `v` of the open eye."""
        radius = IRIS * self.width
        # seen from the picture, the moved iris lies around iris + side
        left, right = self.iris + side - radius, self.iris + side + radius
        near = np.minimum(self.u / max(left, 1.0), (self.width - self.u) / max(self.width - right, 1.0))
        near = np.clip(near, 0, 1)
        part = np.clip((v - self.lid) / np.maximum(self.lower - self.lid, 1), 0, 1)
        return -side * near, up * self.opening * 4 * part * (1 - part) * near

    def _between_corners(self) -> np.ndarray:
        return np.clip(np.minimum(self.u, self.width - self.u) / (0.12 * self.width), 0, 1)


def looks(
    mesh: np.ndarray, source: np.ndarray, residual: np.ndarray, lid_pairs: tuple[tuple[int, int], ...]
) -> tuple[Look, ...]:
    """What each eye does, from source keypoints and expression residual (21, 3) in pixels of the source's own pose.

    The lids' common motion across their gap stands for the eye: along the line of the eyes for sideways, in depth for
    up (see core.atomic_components.eyes.turn_eyes). Their gap beyond that of the source is how wide the eye is.
    """
    across = mesh[263] - mesh[33]
    out = []
    for upper, lower in lid_pairs:
        gap = source[lower] - source[upper]
        size = max(float(gap @ gap), 1e-6)
        common = (residual[upper] + residual[lower]) / 2
        common = common - (common @ gap) / size * gap
        side = across - (across @ gap) / size * gap
        side /= max(float(np.linalg.norm(side)), 1e-6)
        depth = np.cross(side, gap / np.sqrt(size))
        flat = gap[:2]
        grown = float((flat + residual[lower, :2] - residual[upper, :2]) @ flat) / max(float(flat @ flat), 1e-6) - 1
        out.append(Look(float(common @ side), float(common @ depth), max(grown, 0.0)))
    return tuple(out)
