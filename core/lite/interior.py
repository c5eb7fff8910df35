"""The inside of a mouth: of the portrait itself, or of the best frame of a video (spec lite.md 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.lite import mesh_regions as regions
from core.lite.own_teeth import cut_mouth
from core.lite.teeth import Layer, MouthFrame, Tone, brightness, draw_lower, draw_upper, skin_colour

# Opening over mouth width from which a picture shows the inside of its mouth, and from which it does so fully.
OWN_MOUTH = (0.025, 0.06)
OWN_INSIDE = (0.12, 0.135)  # the same for what is seen there: a slit has too little of it for a mouth that opens
CAVITY = np.array([[76, 32, 31], [40, 15, 16]], np.float32)  # throat at the rim and deep inside
FLESH = 0.72  # brightness of a lip's inner side over that of the lip
MIDDLE = slice(3, 6)  # of the inner lip rings


@dataclass(frozen=True)
class Interior:
    """What is seen between the lips, in the coordinates of the crop that it was made from.

    Attributes:
        layers: teeth, gums and tongue, back to front.
        cavity: (2, 3) float32 colours of the throat, at the rim and deep.
        flesh: (3,) float32 colour of the lower lip's inner side.
        own: 0 a closed mouth with drawn teeth .. 1 the picture's own open mouth.
        opening, gap: inner lip opening over mouth width, in the middle and averaged around it.
        mesh: (478, 3) float64 mesh of that crop.
        width: mouth width there, pixels.
        light: brightness of the skin around, 0..255.
        normal: (2,) unit vector there from the upper to the lower lip.
    """

    layers: tuple[Layer, ...]
    cavity: np.ndarray
    flesh: np.ndarray
    own: float
    opening: float
    gap: float
    mesh: np.ndarray
    width: float
    light: float
    normal: np.ndarray

    @classmethod
    def build(cls, crop: np.ndarray, mesh: np.ndarray, frame: MouthFrame, softness: float) -> Interior:
        """Cut the inside of an open mouth out of a crop (512, 512, 3) uint8, or draw that of a closed one."""
        lips = mesh[list(regions.LOWER_MIDDLE), :2]
        tone = Tone.measure(crop, mesh[list(regions.SKIN_SAMPLES), :2], lips)
        opening = mouth_opening(mesh, frame)
        own = own_share(opening, OWN_INSIDE)
        layers = _layers(crop, mesh, frame, tone, own, softness)
        gap = float(lip_gaps(mesh[:, :2], frame.normal)[MIDDLE].mean()) / frame.width
        cavity, light = _cavity(crop, mesh, tone, own), skin_light(crop, mesh)
        flesh = FLESH * skin_colour(crop, lips, radius=2)
        return cls(layers, cavity, flesh, own, opening, gap, mesh, frame.width, light, frame.normal)

    def closing(self, opening: float) -> float:
        """0 as open as in the crop or more .. 1 an open mouth driven shut; `opening` over mouth width."""
        return self.own * float(np.clip(1 - opening / max(self.gap, 1e-3), 0, 1))


def measure_mouth(mesh: np.ndarray) -> MouthFrame:
    """Axes of the mouth of a mesh (478, 3) in crop pixels."""
    left, right = (mesh[i] for i in regions.OUTER_CORNERS)
    axis = right[:2] - left[:2]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    top, bottom = mesh[13, :2], mesh[14, :2]
    origin = top + 0.15 * (bottom - top)
    reach = [max(float(abs((corner[:2] - origin) @ axis)), 4.0) for corner in (left, right)]
    normal = np.array([-axis[1], axis[0]])
    width = max(float(np.linalg.norm(right - left)), 8.0)
    return MouthFrame(origin, axis, reach[0], reach[1], width, max(float((bottom - origin) @ normal), 0.0))


def mouth_opening(mesh: np.ndarray, frame: MouthFrame) -> float:
    """Inner lip opening over mouth width; negative gaps count as closed."""
    return max(float((mesh[14, :2] - mesh[13, :2]) @ frame.normal), 0.0) / frame.width


def own_share(opening: float, bounds: tuple[float, float] = OWN_MOUTH) -> float:
    """0 for a mouth that is closed in the picture .. 1 for one that shows its inside."""
    x = float(np.clip((opening - bounds[0]) / (bounds[1] - bounds[0]), 0, 1))
    return x * x * (3 - 2 * x)


def lip_gaps(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(9,) distances between the inner lips of a mesh (478, 2) along the mouth's normal, at least 0."""
    return np.maximum((points[list(regions.LOWER_INNER)] - points[list(regions.UPPER_INNER)]) @ normal, 0)


def skin_light(crop: np.ndarray, mesh: np.ndarray) -> float:
    """Brightness of the skin of the lower face, 1..255."""
    return max(brightness(skin_colour(crop, mesh[list(regions.SKIN_SAMPLES), :2])), 1.0)


def visible_teeth(crop: np.ndarray, mesh: np.ndarray) -> float:
    """Brightness of the brightest third between the lips, 0..255: teeth, or none."""
    return float(np.quantile(_between_lips(crop, mesh).mean(axis=1), 0.67))


def _inner_contours(mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left, right = regions.INNER_CORNERS
    upper, lower = ([left, *ring, right] for ring in (regions.UPPER_INNER, regions.LOWER_INNER))
    return mesh[upper, :2].astype(np.float32), mesh[lower, :2].astype(np.float32)


def _between_lips(crop: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """(n, 3) float32 pixels of a crop that the inner lip contours enclose."""
    upper, lower = _inner_contours(mesh)
    mask = np.zeros(crop.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(np.concatenate([upper, lower[::-1]])).astype(np.int32)], 1)
    return crop[mask > 0].astype(np.float32)


def _cavity(crop: np.ndarray, mesh: np.ndarray, tone: Tone, own: float) -> np.ndarray:
    """Throat colours; nearly the darkest tones of the portrait's own open mouth if it shows one."""
    colours = tone(CAVITY).astype(np.float32)
    pixels = _between_lips(crop, mesh)
    grey = pixels.mean(axis=1)
    dark = np.median(pixels[grey <= np.quantile(grey, 0.15)], axis=0)
    seen = np.stack([dark, 0.75 * dark]) * min(1.0, 1.2 * float(colours[0].mean()) / max(float(dark.mean()), 1.0))
    return colours + 0.9 * own * (seen - colours)


def _layers(
    crop: np.ndarray, mesh: np.ndarray, frame: MouthFrame, tone: Tone, own: float, softness: float
) -> tuple[Layer, ...]:
    drawn = draw_lower(frame, tone, softness)
    if own <= 0:
        return drawn, draw_upper(frame, tone, softness)
    upper, lower = _inner_contours(mesh)
    jaw, skull, has_lower = cut_mouth(crop, upper, lower, frame.width, tone)
    return (jaw, skull) if has_lower else (drawn, jaw, skull)
