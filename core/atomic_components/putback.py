"""Rendered face -> into the source frame (spec pipeline.md 14.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from core.avatars.avatar import Avatar, Frame
from core.utils.color_match import SeamColours
from core.utils.crop import transform_points

_STRIP = 32  # rows blended at once, so that intermediate results stay in the processor's cache
_NEARLY_ONE = 1 - 1e-5  # interpolation leaves a mask of ones a hair below 1, which truncation would turn into a level


@dataclass(frozen=True)
class Region:
    """Where the mask of a crop lands in a frame.

    Attributes:
        part: rows and columns of the crop that hold all of the mask.
        box: rows and columns of the frame that the part touches.
        matrix: (2, 3) float64, pixels of the part -> pixels of the box.
        mask: (h, w) float32, the warped mask.
    """

    part: tuple[slice, slice]
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

    def __init__(
        self,
        avatar: Avatar,
        mask: np.ndarray | Callable[[int], np.ndarray],
        colours: SeamColours | None = None,
    ):
        """Prepare for one run.

        Args:
            mask: (512, 512) float32 share of the rendered face, or that by source frame; see `core.utils.mask`.
            colours: brings the face's colours to the frame's; None leaves them alone.
        """
        self._avatar, self._colours = avatar, colours
        self._mask_of = mask if callable(mask) else lambda _: mask
        self._scratch = Scratch()
        self._last: tuple[np.ndarray, np.ndarray, Region | None] | None = None

    def __call__(self, frame: Frame) -> Frame:
        """Replace `face`, (512, 512, 3) uint8 or float32 in 0..255, and `matte` by the finished `image`."""
        mask, region = self._region(frame.source)
        source, alpha = self._avatar.frames[frame.source], self._avatar.alpha
        image, face = source.copy(), frame.face
        opacity = None if alpha is None else alpha[frame.source].copy()
        if region is not None:
            if self._colours is not None:
                face = self._colours(face, source, self._avatar.M_c2o[frame.source], mask)
            blend(face, region, image, self._scratch)
            if opacity is not None and frame.matte is not None:
                blend(frame.matte, region, opacity, self._scratch)
        if opacity is not None:
            image = np.dstack([image, opacity])
        return replace(frame, face=None, matte=None, image=image)

    def _region(self, index: int) -> tuple[np.ndarray, Region | None]:
        """Mask and place of a source frame's crop; kept while neither changes, as with a picture or a resting crop."""
        mask, M_c2o = self._mask_of(index), self._avatar.M_c2o[index]
        if self._last is None or mask is not self._last[0] or not np.array_equal(M_c2o, self._last[1]):
            self._last = mask, M_c2o, locate(mask, M_c2o, self._avatar.frames[index].shape, self._scratch)
        return mask, self._last[2]


def locate(mask: np.ndarray, M_c2o: np.ndarray, shape: tuple[int, ...], scratch: Scratch) -> Region | None:
    """Warp a crop mask, (h, w) float32, into a frame of `shape` (H, W, ..); None when it lands outside.

    The mask of the result lives in `scratch`, until the next call.
    """
    part = _part(mask)
    (rows, columns), mask = part, mask[part]
    height, width = mask.shape
    matrix = M_c2o[:2].astype(np.float64)
    matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
    corners = transform_points(np.array([[0, 0], [width, 0], [0, height], [width, height]]), matrix)
    left, top = (int(v) for v in np.maximum(np.floor(corners.min(axis=0)) - 1, 0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(corners.max(axis=0)) + 1, (shape[1], shape[0])))
    if left >= right or top >= bottom:
        return None
    matrix[:, 2] -= left, top
    size = bottom - top, right - left
    warped = scratch.array("mask", *size)
    cv2.warpAffine(mask, matrix, size[::-1], dst=warped, flags=cv2.INTER_LINEAR)
    cv2.multiply(warped, 1 / _NEARLY_ONE, dst=warped)
    cv2.min(warped, 1.0, dst=warped)
    return Region(part, (slice(top, bottom), slice(left, right)), matrix, warped)


def _part(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold what is not 0, and a pixel more on each side."""
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    rows = slice(max(top - 1, 0), min(top + height + 1, mask.shape[0]))
    return rows, slice(max(left - 1, 0), min(left + width + 1, mask.shape[1]))


def blend(face: np.ndarray, region: Region, image: np.ndarray, scratch: Scratch) -> None:
    """Lay a rendered face over `image` (H, W, 3) uint8; values are truncated.

    The face is (h, w, 3), uint8 or float32 in 0..255. Both may also have one channel and two dimensions.
    """
    height, width = region.mask.shape
    face, more = face[region.part], face.shape[2:]
    source = scratch.array("face", *face.shape)
    np.copyto(source, face)
    warped = scratch.array("warped", height, width, *more)
    cv2.warpAffine(source, region.matrix, (width, height), dst=warped, flags=cv2.INTER_LINEAR)
    target = image[region.box]
    for y in range(0, height, _STRIP):
        strip = slice(y, y + _STRIP)
        left, right = _all_face(region.mask[strip])
        target[strip, left:right] = warped[strip, left:right]
        for side in (slice(0, left), slice(right, width)):
            if side.start < side.stop:
                _mix(warped[strip, side], region.mask[strip, side], target[strip, side], scratch)


def _all_face(mask: np.ndarray) -> tuple[int, int]:
    """The columns around the middle in which a strip of the mask, (h, w), is 1; an empty range when there are none."""
    mixed = np.flatnonzero(cv2.reduce(mask, 0, cv2.REDUCE_MIN)[0] < 1)
    if not len(mixed):
        return 0, mask.shape[1]
    right = int(np.searchsorted(mixed, mask.shape[1] // 2))
    return (
        int(mixed[right - 1]) + 1 if right else 0,
        int(mixed[right]) if right < len(mixed) else mask.shape[1],
    )


def _mix(face: np.ndarray, share: np.ndarray, target: np.ndarray, scratch: Scratch) -> None:
    """`target` becomes share * face + (1 - share) * target, truncated; all of the same height and width."""
    below, change = scratch.array("below", *face.shape), scratch.array("change", *face.shape)
    if face.ndim == 3:
        share = cv2.merge([share] * face.shape[2], dst=scratch.array("share", *face.shape))
    np.copyto(below, target)
    cv2.subtract(face, below, dst=change)
    cv2.multiply(change, share, dst=change)
    cv2.add(below, change, dst=change)
    target[...] = change
