"""What is seen inside the mouth, as pictures in source crop coordinates: made once per avatar (spec lite.md 4.4).

The upper picture moves with the skull, the lower one with the jaw. Portraits that show their teeth keep them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SUPERSAMPLE = 3
TOOTH = np.array([226, 216, 200], np.float32)
GUM = np.array([172, 98, 94], np.float32)
SHADOW = np.array([0.85, 1.1, 1.2], np.float32)  # exponents of brightness in teeth: shadows are red
TONGUE = np.array([168, 86, 84], np.float32)
LIP_SHARE = 0.7  # saturation of skin that goes with lips, over theirs

# Edges of the upper front teeth from the midline, in mouth widths, and how long each is.
UPPER_EDGES = np.array([0.0, 0.115, 0.210, 0.295, 0.365, 0.43])
UPPER_LENGTH = np.array([1.0, 0.93, 0.97, 0.88, 0.80])
LOWER_EDGES = np.array([0.0, 0.058, 0.120, 0.185, 0.25, 0.31, 0.35])
LOWER_LENGTH = np.array([1.0, 0.98, 0.96, 0.9, 0.85, 0.8])


@dataclass(frozen=True)
class Layer:
    """A picture with transparency in source crop coordinates.

    Attributes:
        rgba: (h, w, 4) float32, colour 0..255 premultiplied by alpha, alpha 0..1.
        origin: crop pixel of the top left corner.
        jaw: moves with the jaw, else with the skull.
        when: "always", or only while the mouth is open "wider" than in the portrait, or not ("same").
    """

    rgba: np.ndarray
    origin: tuple[int, int]
    jaw: bool
    when: str = "always"


@dataclass(frozen=True)
class Tone:
    """Fits drawn colours to the portrait: brightness, saturation and tint."""

    gain: float
    saturation: float
    tint: np.ndarray

    @classmethod
    def measure(cls, crop: np.ndarray, skin_points: np.ndarray, lip_points: np.ndarray | None = None) -> Tone:
        """Tone of the lower face from skin, and lips, around (n, 2) points of a crop (512, 512, 3) uint8.

        A pale face has a red mouth as long as it has red lips.
        """
        skin = skin_colour(crop, skin_points)
        luma, colourful = max(brightness(skin), 1.0), saturation(skin)
        if lip_points is not None:
            colourful = max(colourful, LIP_SHARE * saturation(skin_colour(crop, lip_points, radius=2)))
        return cls(float(np.clip(luma / 150, 0.3, 1.1)), float(np.clip(colourful / 0.30, 0, 1.1)), skin / luma)

    def __call__(self, colour: np.ndarray) -> np.ndarray:
        """Adapt colours (..., 3)."""
        grey = colour @ np.array([0.299, 0.587, 0.114], np.float32)
        plain = grey[..., None] + (colour - grey[..., None]) * self.saturation
        tinted = grey[..., None] * (1 + 0.35 * (self.tint - 1))
        return (0.65 * plain + 0.35 * tinted) * self.gain


def skin_colour(crop: np.ndarray, points: np.ndarray, radius: int = 6) -> np.ndarray:
    """(3,) float32 median colour of a crop (512, 512, 3) uint8 around (n, 2) points."""
    points = np.clip(np.round(points).astype(int), radius, 511 - radius)
    pixels = [crop[y - radius : y + radius, x - radius : x + radius].reshape(-1, 3) for x, y in points]
    return np.median(np.concatenate(pixels).astype(np.float32), axis=0)


def saturation(colour: np.ndarray) -> float:
    """Saturation of a colour (3,), 0..1."""
    return float(colour.max() - colour.min()) / max(float(colour.max()), 1.0)


def brightness(colour: np.ndarray) -> float:
    """Luma of a colour (3,), 0..255."""
    return float(colour @ np.array([0.299, 0.587, 0.114]))


@dataclass(frozen=True)
class MouthFrame:
    """The source mouth's own axes, in crop pixels.

    Attributes:
        origin: (2,) seam of the lips on the midline of the face.
        axis: (2,) unit vector from the left to the right corner.
        left, right: distance from the midline to the corners along the axis (unequal when the head is turned).
        width: mouth width as if seen from the front.
        drop: distance of the lower inner lip below the seam.
    """

    origin: np.ndarray
    axis: np.ndarray
    left: float
    right: float
    width: float
    drop: float

    @property
    def normal(self) -> np.ndarray:
        """Unit vector pointing from the upper to the lower lip."""
        return np.array([-self.axis[1], self.axis[0]])

    def local(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels -> (u, v) in mouth widths: u = +-0.5 at the corners, v downwards from the seam."""
        dx, dy = xs - self.origin[0], ys - self.origin[1]
        along = dx * self.axis[0] + dy * self.axis[1]
        u = along / np.where(along < 0, 2 * self.left, 2 * self.right)
        return u, (-dx * self.axis[1] + dy * self.axis[0]) / self.width


def draw_upper(frame: MouthFrame, tone: Tone, softness: float) -> Layer:
    """Upper teeth with gums above, for a mouth that is closed in the portrait."""
    (xs, ys), origin, shape = _canvas(frame, 0.62, 0.42)
    u, v = frame.local(xs, ys)
    top, height = -0.135, 0.20
    rgb, coverage = _teeth(u, (v - top) / height, UPPER_EDGES, UPPER_LENGTH)
    side = np.clip(1 - 0.75 * (np.abs(u) / 0.43) ** 2, 0, 1)
    rgb *= _warm(side * np.clip(0.80 + 0.25 * (v - top) / height, 0, 1.02))
    gum = GUM * side[..., None]
    gum_weight = _ramp(top + 0.012 * np.cos(u * 60) - v, -0.012, 0.012)
    rgb = rgb + gum_weight[..., None] * (gum - rgb)
    alpha = np.maximum(coverage, gum_weight * _ramp(0.43 - np.abs(u), 0, 0.05))
    return _finish(tone(rgb), alpha, origin, shape, softness, jaw=False)


def draw_lower(frame: MouthFrame, tone: Tone, softness: float) -> Layer:
    """Lower teeth in front of the tongue; both move with the jaw."""
    (xs, ys), origin, shape = _canvas(frame, 0.62, 0.42)
    u, v = frame.local(xs, ys)
    v = v - frame.drop / frame.width
    radius = np.hypot(u / 0.31, (v - 0.05) / 0.19)
    tongue = TONGUE * (1.02 - 0.45 * np.clip(radius, 0, 1) ** 2 - 0.18 * np.exp(-((u / 0.02) ** 2)))[..., None]
    tongue_alpha = 0.88 * _ramp(1 - radius, 0, 0.22)
    rgb, teeth_alpha = _teeth(u, 1 - (v + 0.045) / 0.14, LOWER_EDGES, LOWER_LENGTH)
    rgb *= _warm(0.86 * np.clip(1 - 0.8 * (np.abs(u) / 0.36) ** 2, 0, 1))
    alpha = teeth_alpha + tongue_alpha * (1 - teeth_alpha)
    rgb = (rgb * teeth_alpha[..., None] + tongue * (tongue_alpha * (1 - teeth_alpha))[..., None]) / np.maximum(
        alpha, 1e-4
    )[..., None]
    return _finish(tone(rgb), alpha, origin, shape, softness, jaw=True)


def _teeth(u: np.ndarray, down: np.ndarray, edges: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and coverage of a row of teeth; `down` runs 0..1 from the gum to the edge of the longest tooth."""
    distance = np.abs(u)
    index = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, len(lengths) - 1)
    left, right = edges[index], edges[index + 1]
    across = (distance - left) / (right - left)
    rounding = 0.08 * np.abs(2 * across - 1) ** 3
    end = lengths[index] - rounding
    gap = 1 - 0.24 * np.exp(-((np.minimum(across, 1 - across) * (right - left) / 0.008) ** 2))
    shade = gap * (0.93 + 0.07 * np.cos((across - 0.45) * 3))
    coverage = _ramp(end - down, -0.04, 0.06) * _ramp(edges[-1] - distance, 0, 0.03)
    return TOOTH * _warm(shade), coverage


def _warm(shade: np.ndarray) -> np.ndarray:
    """Brightness -> (..., 3) factors of a shadow between red gums and lips."""
    return shade[..., None] ** SHADOW


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _canvas(frame: MouthFrame, half_u: float, half_v: float):
    reach = np.array([half_u * 2 * max(frame.left, frame.right), half_v * frame.width])
    extent = np.abs(frame.axis) * reach[0] + np.abs(frame.normal) * reach[1]
    low = np.floor(frame.origin - extent).astype(int)
    size = np.ceil(2 * extent).astype(int) + 1
    n = SUPERSAMPLE
    ys, xs = np.mgrid[0 : size[1] * n, 0 : size[0] * n].astype(np.float32)
    return (low[0] + (xs + 0.5) / n - 0.5, low[1] + (ys + 0.5) / n - 0.5), (int(low[0]), int(low[1])), tuple(size)


def _finish(
    rgb: np.ndarray, alpha: np.ndarray, origin: tuple[int, int], shape: tuple[int, int], softness: float, jaw: bool
) -> Layer:
    rgba = np.concatenate([rgb * alpha[..., None], alpha[..., None]], axis=-1).astype(np.float32)
    small = cv2.resize(rgba, shape, interpolation=cv2.INTER_AREA)
    return Layer(cv2.GaussianBlur(small, (0, 0), 0.6 + 1.2 * softness), origin, jaw, "wider" if jaw else "always")
