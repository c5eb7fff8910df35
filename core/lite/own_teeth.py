"""The inside of a mouth that is open in the portrait, cut out as layers (spec lite.md 4.4)."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from core.lite.teeth import GUM, Layer, Tone, saturation

MARGIN = 0.24  # mouth widths kept around the opening
TOOTH_LENGTH = 0.13  # of the upper teeth, mouth widths
RIM = 0.86  # depth from which the opening hugs the lower lip when it shows no lower teeth
RIM_PIXELS = 3.0  # at least so much of it
SPLIT_CONTRAST = 22.0  # grey levels that teeth or tongue must stand out from the dark gap between upper and lower
LIP_SHADOW = 0.12  # mouth widths: what is dark so far below the upper lip may be its shadow on the upper teeth
HOLLOW = 0.27  # brightness over that of the teeth or tongue below it from which it is no shadow but the dark itself
LIP_LIKE = 0.8  # saturation over that of the lower lip from which what is bright above it is its own inner side
THICK = 0.1  # mouth widths of brightness above the lower lip from which it is teeth or tongue in any colour
LIP_STRIP = 0.1  # mouth widths of the lower lip that are looked at
BESIDE = (0.49, 0.54)  # inner mouth widths from the middle over which the gums end


def cut_mouth(
    crop: np.ndarray, upper: np.ndarray, lower: np.ndarray, width: float, tone: Tone
) -> tuple[Layer, Layer, bool]:
    """Cut the opening between the inner lip contours.

    Args:
        crop: (512, 512, 3) uint8.
        upper, lower: (n, 2) inner contours from the left to the right corner, crop pixels.
        width: mouth width in pixels.

    Returns:
        What moves with the jaw (lower teeth, or at least the rim along the lower lip), what moves with the skull, and
        whether the first holds lower teeth or a tongue.
    """
    polygon = np.concatenate([upper, lower[::-1]])
    margin = int(np.ceil(MARGIN * width))
    low = np.clip(np.floor(polygon.min(axis=0)).astype(int) - margin, 0, 508)
    high = np.clip(np.ceil(polygon.max(axis=0)).astype(int) + margin, low + 3, 512)
    patch = np.ascontiguousarray(crop[low[1] : high[1], low[0] : high[0]])
    ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    inside = _inside(polygon - low, patch.shape[:2])
    depth = _depth(upper, lower, xs, ys)
    filled = cv2.inpaint(patch, (1 - inside), 3, cv2.INPAINT_TELEA).astype(np.float32)
    distance = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    above = depth < 0.5
    around = np.where(above, 1 - _ramp(distance / width, MARGIN - 0.06, MARGIN - 0.02), 1 - _ramp(distance, 2.5, 5.0))
    height = float(np.linalg.norm(lower - upper, axis=1).max())
    found = _split(filled, depth, inside, height / width)
    aside = _aside(upper, xs, ys)
    has_lower = found is not None and _shows_lower(patch, depth, aside, found[1], height / width)
    split = min(RIM, 1 - RIM_PIXELS / max(height, 2 * RIM_PIXELS)) if found is None else found[0]
    seen = (1.0 if found is None else 0.5 * found[0]) * height / width  # of the upper teeth
    hidden = float(np.clip(TOOTH_LENGTH - seen, 0.03, 0.12))
    to_gum = np.where(above, _ramp(distance / width, hidden, hidden + 0.05), 0)[..., None]
    filled += to_gum * (tone(GUM) * (0.8 * np.clip(1 - 2.4 * aside**2, 0, 1))[..., None] - filled)
    around *= 1 - _ramp(aside, *BESIDE)
    skull = around * (1 - _ramp(depth, split, split + 0.1))
    jaw = around * _ramp(depth, split - 0.1, split)
    origin = (int(low[0]), int(low[1]))
    rim = _layer(filled, jaw, origin, True)
    if not has_lower:
        rim = replace(rim, when="same")  # what little it holds of the teeth would hang on the lip of a wider mouth
    return rim, _layer(filled, skull, origin, False), has_lower


def _inside(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return cv2.erode(mask, np.ones((3, 3), np.uint8))


def _depth(upper: np.ndarray, lower: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    top, bottom = (np.interp(xs, c[np.argsort(c[:, 0]), 0], c[np.argsort(c[:, 0]), 1]) for c in (upper, lower))
    return (ys - top) / np.maximum(bottom - top, 2)


def _aside(upper: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the middle between the inner corners, along the line through them, in its lengths."""
    span, middle = upper[-1] - upper[0], (upper[0] + upper[-1]) / 2
    along = (xs - middle[0]) * span[0] + (ys - middle[1]) * span[1]
    return np.abs(along) / max(float(span @ span), 1.0)


def _shows_lower(patch: np.ndarray, depth: np.ndarray, aside: np.ndarray, lit: float, opening: float) -> bool:
    """Whether what is bright from the depth `lit` on is teeth or tongue and not the inner side of the lower lip."""
    if (1 - lit) * opening > THICK:
        return True
    seen = patch[(aside < 0.25) & (depth > lit) & (depth < 1)].astype(np.float32)
    lip = patch[(aside < 0.25) & (depth > 1) & ((depth - 1) * opening < LIP_STRIP)].astype(np.float32)
    if len(seen) == 0 or len(lip) == 0:
        return False
    seen = seen[seen.sum(axis=1) >= np.median(seen.sum(axis=1))]
    return saturation(seen.mean(axis=0)) < LIP_LIKE * saturation(lip.mean(axis=0))


def _split(picture: np.ndarray, depth: np.ndarray, inside: np.ndarray, opening: float) -> tuple[float, float] | None:
    """Where the dark gap between upper and lower teeth is, and where it is bright again below it; None without a gap.

    Both are depths 0..1 below the upper lip; `opening` is in mouth widths.
    """
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    columns = np.flatnonzero(inside.any(axis=0))
    if len(columns) < 8:
        return None
    middle = columns[len(columns) // 4 : -len(columns) // 4]
    region = np.zeros_like(inside, bool)
    region[:, middle] = inside[:, middle] > 0
    bins = np.clip((depth[region] * 16).astype(int), 0, 15)
    counts = np.bincount(bins, minlength=16)
    if (counts == 0).any():
        return None
    profile = np.convolve(np.bincount(bins, grey[region], 16) / counts, [0.25, 0.5, 0.25], "same")
    if _is_hollow(profile):
        lit = _lit(profile, int(np.argmin(profile[1:8])) + 1)
        return max(lit - 0.1, 0.1), lit
    dark = 4 + int(np.argmin(profile[4:13]))
    gap, bright = (dark + 0.5) / 16, profile[dark] + SPLIT_CONTRAST
    shadow = profile[:dark].max() < bright and gap * opening < LIP_SHADOW
    return None if shadow or profile[dark:15].max() < bright else (gap, _lit(profile, dark))


def _is_hollow(profile: np.ndarray) -> bool:
    """Whether a mouth is black from the upper lip on and shows teeth or tongue below."""
    dark = int(np.argmin(profile[1:8])) + 1
    black = profile[dark] <= HOLLOW * profile[dark:15].max()
    return bool(black and profile[1:dark].max(initial=0) <= profile[dark] + SPLIT_CONTRAST)


def _lit(profile: np.ndarray, dark: int) -> float:
    """Depth at which a profile of 16 steps has become half as bright as it gets below the step `dark`."""
    below = profile[dark:15]
    return (dark + int(np.argmax(below >= 0.5 * (below[0] + below.max())))) / 16


def _layer(rgb: np.ndarray, alpha: np.ndarray, origin: tuple[int, int], jaw: bool) -> Layer:
    alpha = alpha[..., None].astype(np.float32)
    return Layer(np.concatenate([rgb * alpha, alpha], axis=-1).astype(np.float32), origin, jaw)


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
