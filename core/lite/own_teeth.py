"""The inside of a mouth that is open in the portrait, cut out as layers (spec lite.md 4.4)."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from core.lite.teeth import GUM, Layer, Tone

MARGIN = 0.24  # mouth widths kept around the opening
TOOTH_LENGTH = 0.13  # of the upper teeth, mouth widths
RIM = 0.86  # depth from which the opening hugs the lower lip when it shows no lower teeth
RIM_PIXELS = 3.0  # at least so much of it
SPLIT_CONTRAST = 22.0  # grey levels that teeth or tongue must stand out from the dark gap between upper and lower
LIP_SHADOW = 0.12  # mouth widths: what is dark so far below the upper lip may be its shadow on the upper teeth


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
    split = min(RIM, 1 - RIM_PIXELS / max(height, 2 * RIM_PIXELS)) if found is None else found
    seen = (1.0 if found is None else 0.5 * found) * height / width  # of the upper teeth
    hidden = float(np.clip(TOOTH_LENGTH - seen, 0.03, 0.12))
    to_gum = np.where(above, _ramp(distance / width, hidden, hidden + 0.05), 0)[..., None]
    filled += to_gum * (tone(GUM) * 0.8 - filled)
    skull = around * (1 - _ramp(depth, split, split + 0.1))
    jaw = around * _ramp(depth, split - 0.1, split)
    origin = (int(low[0]), int(low[1]))
    rim = _layer(filled, jaw, origin, True)
    if found is None:
        rim = replace(rim, when="same")  # what little it holds of the teeth would hang on the lip of a wider mouth
    return rim, _layer(filled, skull, origin, False), found is not None


def _inside(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return cv2.erode(mask, np.ones((3, 3), np.uint8))


def _depth(upper: np.ndarray, lower: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    top, bottom = (np.interp(xs, c[np.argsort(c[:, 0]), 0], c[np.argsort(c[:, 0]), 1]) for c in (upper, lower))
    return (ys - top) / np.maximum(bottom - top, 2)


def _split(picture: np.ndarray, depth: np.ndarray, inside: np.ndarray, opening: float) -> float | None:
    """Depth of the dark gap between the upper and the lower teeth, 0..1, if there is one; `opening` in mouth widths."""
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
    dark = 4 + int(np.argmin(profile[4:13]))
    gap, bright = (dark + 0.5) / 16, profile[dark] + SPLIT_CONTRAST
    shadow = profile[:dark].max() < bright and gap * opening < LIP_SHADOW
    return None if shadow or profile[dark:15].max() < bright else gap


def _layer(rgb: np.ndarray, alpha: np.ndarray, origin: tuple[int, int], jaw: bool) -> Layer:
    alpha = alpha[..., None].astype(np.float32)
    return Layer(np.concatenate([rgb * alpha, alpha], axis=-1).astype(np.float32), origin, jaw)


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
