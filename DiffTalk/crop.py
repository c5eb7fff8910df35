"""The square around a head that DiffTalk works on: the same one for all frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.errors import InputError

FACE_SHARE = 2.0  # side of the square over the size of the face (brows to chin)
MARGIN = 1.1  # the square holds all landmarks of the clip with this much room


@dataclass(frozen=True)
class Square:
    """A square in frame pixels: upper left corner and side."""

    left: int
    top: int
    side: int

    def cut(self, rgb: np.ndarray, size: int | None = None) -> np.ndarray:
        """The square's content, (size, size, 3) uint8; what lies outside the frame repeats its border."""
        height, width = rgb.shape[:2]
        right, bottom = self.left + self.side, self.top + self.side
        out = (max(0, -self.top), max(0, bottom - height), max(0, -self.left), max(0, right - width))
        if any(out):
            rgb = cv2.copyMakeBorder(rgb, *out, cv2.BORDER_REPLICATE)
        left, top = self.left + out[2], self.top + out[0]
        part = np.ascontiguousarray(rgb[top : top + self.side, left : left + self.side])
        if size is None or size == self.side:
            return part
        shrink = size < self.side
        return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)

    def points(self, landmarks: np.ndarray, size: int | None = None) -> np.ndarray:
        """Frame landmarks -> pixels of what `cut` gives."""
        scale = 1 if size is None else size / self.side
        return (landmarks - (self.left, self.top)) * scale


def square_of(landmarks: np.ndarray, height: int, width: int, name: object) -> Square:
    """The square for a clip with landmarks (n, 68, 2) in height x width frames.

    Raises InputError when the head moves so far that no square of the frame's size holds it.
    """
    low, high = landmarks.min(axis=(0, 1)), landmarks.max(axis=(0, 1))
    faces = np.median(np.ptp(landmarks, axis=1).max(axis=1))
    reach = float((high - low).max()) * MARGIN
    side = int(np.ceil(max(FACE_SHARE * faces, reach)))
    if reach > 2 * FACE_SHARE * faces:
        raise InputError(f"{name}: the head moves through the whole picture; cut the video into calmer pieces")
    # landmarks end at the brows, so the square of a face sits a little higher than they do
    lift = min(0.08 * side, (side - (high - low)[1]) / 2)
    corner = (low + high) / 2 - side / 2 - (0, lift)
    room = np.array([width, height]) - side  # below 0: the frame is narrower than the square, its border is repeated
    left, top = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), corner).round().astype(int)
    return Square(int(left), int(top), side)
