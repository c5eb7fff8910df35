"""Rendered face -> into the source frame (spec pipeline.md 14.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from core.avatar import Avatar, Frame
from core.utils.crop import transform_points

_STRIP = 32  # rows blended at once, so that intermediate results stay in the processor's cache
_NEARLY_ONE = 1 - 1e-5  # interpolation leaves a mask of ones a hair below 1, which truncation would turn into a level


@dataclass(frozen=True)
class Region:
    """Where the mask of a crop lands in a frame.

    Attributes:
        box: rows and columns of the frame that the crop touches.
        matrix: (2, 3) float64, crop pixels -> pixels of the box.
        mask: (h, w, 3) float32, the warped mask, the same in all channels.
    """

    box: tuple[slice, slice]
    matrix: np.ndarray
    mask: np.ndarray


class Scratch:
    """float32 working arrays that are kept: fresh megabytes in every frame cost more than the blending itself."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """An array of `shape` with arbitrary content, valid until the next call with the same name."""
        size = int(np.prod(shape))
        memory = self._memory.get(name)
        if memory is None or memory.size < size:
            memory = self._memory[name] = np.empty(size, np.float32)
        return memory[:size].reshape(shape)


class PutBack:
    """Blends rendered crops into copies of the avatar's frames. For one thread."""

    def __init__(self, avatar: Avatar, mask: np.ndarray):
        """mask: (512, 512) float32 share of the rendered face, see `core.utils.mask.blend_mask`."""
        self._avatar = avatar
        self._mask = np.ascontiguousarray(mask, np.float32)
        self._scratch = Scratch()
        self._still = self._locate(0) if avatar.is_image else None

    def __call__(self, frame: Frame) -> Frame:
        """Replace `face`, (512, 512, 3) uint8 or float32 in 0..255, by the finished `image`."""
        region = self._still if self._avatar.is_image else self._locate(frame.source)
        image = self._avatar.frames[frame.source].copy()
        if region is not None:
            blend(frame.face, region, image, self._scratch)
        return replace(frame, face=None, image=image)

    def _locate(self, index: int) -> Region | None:
        return locate(self._mask, self._avatar.M_c2o[index], self._avatar.frames[index].shape, self._scratch)


def locate(mask: np.ndarray, M_c2o: np.ndarray, shape: tuple[int, ...], scratch: Scratch) -> Region | None:
    """Warp a crop mask, (h, w) float32, into a frame of `shape` (H, W, ..); None when it lands outside.

    The mask of the result lives in `scratch`, until the next call.
    """
    height, width = mask.shape
    corners = transform_points(np.array([[0, 0], [width, 0], [0, height], [width, height]]), M_c2o)
    left, top = (int(v) for v in np.maximum(np.floor(corners.min(axis=0)) - 1, 0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(corners.max(axis=0)) + 1, (shape[1], shape[0])))
    if left >= right or top >= bottom:
        return None
    matrix = M_c2o[:2].astype(np.float64)
    matrix[:, 2] -= left, top
    size = bottom - top, right - left
    warped = scratch.array("mask", *size)
    cv2.warpAffine(mask, matrix, size[::-1], dst=warped, flags=cv2.INTER_LINEAR)
    np.clip(warped, 0, 1, out=warped)
    warped[warped > _NEARLY_ONE] = 1
    thrice = cv2.merge([warped] * 3, dst=scratch.array("mask of all channels", *size, 3))
    return Region((slice(top, bottom), slice(left, right)), matrix, thrice)


def blend(face: np.ndarray, region: Region, image: np.ndarray, scratch: Scratch) -> None:
    """Lay a rendered face, (h, w, 3) uint8 or float32 in 0..255, over `image` (H, W, 3) uint8; values are truncated."""
    height, width = region.mask.shape[:2]
    source = scratch.array("face", *face.shape)
    np.copyto(source, face)
    warped = scratch.array("warped", height, width, 3)
    cv2.warpAffine(source, region.matrix, (width, height), dst=warped, flags=cv2.INTER_LINEAR)
    target = image[region.box]
    for y in range(0, height, _STRIP):
        strip = slice(y, y + _STRIP)
        change = warped[strip]
        below = scratch.array("below", *change.shape)
        np.copyto(below, target[strip])
        cv2.subtract(change, below, dst=change)
        cv2.multiply(change, region.mask[strip], dst=change)
        cv2.add(below, change, dst=change)
        target[strip] = change
