"""Rendered face -> into the source frame (spec pipeline.md 14.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from core.avatar import Avatar, Frame

_STRIP = 64  # rows blended at once, so that intermediate results stay in the processor's cache
_NEARLY_ONE = 1 - 1e-5  # interpolation leaves a mask of ones a hair below 1, which truncation would turn into a level


@dataclass(frozen=True)
class Region:
    """Where the mask of a crop lands in a frame.

    Attributes:
        box: rows and columns of the frame that the mask touches.
        matrix: (2, 3) float64, crop pixels -> pixels of the box.
        mask: (h, w, 3) float32, the warped mask, the same in all channels.
    """

    box: tuple[slice, slice]
    matrix: np.ndarray
    mask: np.ndarray


class PutBack:
    """Blends rendered crops into copies of the avatar's frames."""

    def __init__(self, avatar: Avatar, mask: np.ndarray):
        """mask: (512, 512) float32 share of the rendered face, see `core.utils.mask.blend_mask`."""
        self._avatar = avatar
        self._mask = np.ascontiguousarray(mask, np.float32)
        self._still = locate(self._mask, avatar.M_c2o[0], avatar.frames[0].shape) if avatar.is_image else None

    def __call__(self, frame: Frame) -> Frame:
        """Replace `face`, (512, 512, 3) uint8 or float32 in 0..255, by the finished `image`."""
        source = self._avatar.frames[frame.source]
        region = self._still
        if not self._avatar.is_image:
            region = locate(self._mask, self._avatar.M_c2o[frame.source], source.shape)
        image = source.copy()
        if region is not None:
            blend(frame.face, region, image)
        return replace(frame, face=None, image=image)


def locate(mask: np.ndarray, M_c2o: np.ndarray, shape: tuple[int, ...]) -> Region | None:
    """Warp a crop mask, (h, w) float32, into a frame of `shape` (H, W, ..); None when it lands outside."""
    height, width = mask.shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ M_c2o[:2, :2].T + M_c2o[:2, 2]
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, (shape[1], shape[0]))
    if left >= right or top >= bottom:
        return None
    matrix = M_c2o[:2].astype(np.float64)
    matrix[:, 2] -= left, top
    warped = cv2.warpAffine(mask, matrix, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR)
    columns, rows = (np.flatnonzero(cv2.reduce(warped, axis, cv2.REDUCE_MAX)) for axis in (0, 1))
    if not len(rows):
        return None
    x, y = slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1)
    matrix[:, 2] -= x.start, y.start
    inside = np.clip(warped[y, x], 0, 1)
    inside[inside > _NEARLY_ONE] = 1
    box = slice(top + y.start, top + y.stop), slice(left + x.start, left + x.stop)
    return Region(box, matrix, cv2.merge([inside] * 3))


def blend(face: np.ndarray, region: Region, image: np.ndarray) -> None:
    """Lay a rendered face, (h, w, 3) uint8 or float32 in 0..255, over `image` (H, W, 3) uint8; values are truncated."""
    height, width = region.mask.shape[:2]
    warped = cv2.warpAffine(np.asarray(face, np.float32), region.matrix, (width, height), flags=cv2.INTER_LINEAR)
    target = image[region.box]
    for y in range(0, height, _STRIP):
        strip = slice(y, y + _STRIP)
        below = target[strip].astype(np.float32)
        change = cv2.subtract(warped[strip], below)
        cv2.multiply(change, region.mask[strip], dst=change)
        target[strip] = cv2.add(below, change)
