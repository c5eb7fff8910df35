"""Pictures and masks as the networks want them (spec difftalk.md sections 6 to 8). Landmarks are the usual 68."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from core.errors import InputError
from core.media.probe import check_readable
from DiffTalk.config import LATENT_FACTOR

LANDMARKS = 68
KEPT = (*range(4), *range(13, 48))  # without chin and mouth: what the landmark encoder gets
MOUTH = slice(48, 68)
OUTLINE = (*range(2, 15), 33)  # polygon of what is generated: the jaw, closed over the base of the nose


def read_picture(path: str | Path) -> np.ndarray:
    """A square picture file -> (N, N, 3) uint8 RGB, whatever its colours. Raises InputError."""
    path = check_readable(path, "picture")
    try:
        with Image.open(path) as picture:
            rgb = np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise InputError(f"{path}: not a picture, or a damaged one") from None
    if rgb.shape[0] != rgb.shape[1]:
        raise InputError(f"{path}: {rgb.shape[1]}x{rgb.shape[0]} pixels; DiffTalk takes square pictures, crop it first")
    return rgb


def read_landmarks(path: str | Path) -> np.ndarray:
    """Text with 68 lines `x y` -> (68, 2) float64 in pixels of the picture. Raises InputError."""
    path = check_readable(path, "landmark")
    try:
        points = np.array([line.split() for line in path.read_text().splitlines() if line.strip()], np.float64)
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path}: expected 68 lines 'x y'") from None
    return check_landmarks(points, path)


def check_landmarks(points: np.ndarray, path: str | Path) -> np.ndarray:
    """`points` themselves when they are (68, 2) finite numbers in pixels. Raises InputError naming `path`."""
    if points.shape != (LANDMARKS, 2) or not np.isfinite(points).all():
        raise InputError(f"{path}: expected {LANDMARKS} landmarks 'x y', found an array {list(points.shape)}")
    if np.ptp(points, axis=0).max() <= 2:
        raise InputError(f"{path}: the landmarks are not in pixels (normalised?); DiffTalk needs pixels of the picture")
    return points


def resize(rgb: np.ndarray, size: int) -> np.ndarray:
    """(N, N, 3) uint8 -> (size, size, 3) uint8 with Pillow's bicubic filter, as in training."""
    return np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC))


def to_float(rgb: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [-1, 1]."""
    return (rgb / 127.5 - 1).astype(np.float32)


def first_masked_row(landmarks: np.ndarray, point: int, scale: float) -> int:
    """Row of the resized picture from which downwards the condition is black."""
    return max(0, int(landmarks[point, 1] / scale))


def black_out(rgb: np.ndarray, row: int) -> np.ndarray:
    """A copy of (H, W, 3) uint8 that is black from `row` downwards."""
    masked = rgb.copy()
    masked[row:] = 0
    return masked


def keep_mask(landmarks: np.ndarray, height: int, width: int, size: int, name: str | Path = "landmarks") -> np.ndarray:
    """(size / 4, size / 4) uint8: 0 in the polygon around mouth and jaw, which is generated, 1 where the frame is kept.

    `landmarks` are in pixels of the height x width picture. Raises InputError when the polygon misses the mouth:
    the network would see what it is to generate.
    """
    polygon = landmarks[list(OUTLINE)].astype(np.int32)
    mask = np.ones((height, width), np.uint8)
    cv2.fillPoly(mask, [polygon], 0)
    mouth = landmarks[MOUTH].astype(np.int32)
    inside = (mouth >= 0).all(axis=1) & (mouth[:, 0] < width) & (mouth[:, 1] < height)
    if not inside.all() or mask[mouth[:, 1], mouth[:, 0]].any():
        raise InputError(f"{name}: the mask around the jaw does not cover the mouth; check the landmarks of this frame")
    side = size // LATENT_FACTOR
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.BICUBIC))


def to_bytes(pictures: Tensor, rounded: bool = False) -> np.ndarray:
    """(B, 3, H, W) about [-1, 1] -> (B, H, W, 3) uint8, cut off like the reference's or `rounded`."""
    levels = ((pictures.float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1) * 255
    return (levels.round() if rounded else levels).to(torch.uint8).cpu().numpy()
