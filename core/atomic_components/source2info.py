"""One source frame -> what the avatar keeps of it (spec pipeline.md section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.motion import Motion
from core.options import CropOptions
from core.utils.crop import crop_image
from core.utils.eyes import eye_state

CROP_SIZE = 512


@dataclass(frozen=True)
class FoundFace:
    """A face in a frame: `landmarks` (m, 2 or more) float32 in frame pixels, as many as the pack's finder gives."""

    landmarks: np.ndarray
    score: float


@dataclass(frozen=True)
class FaceDescription:
    """What a pack sees in one 512 crop: 478 landmarks (478, 3) in crop pixels, motion with `kp`, warp feature."""

    landmarks: np.ndarray
    motion: Motion
    feature: Any


class FaceAnalyser(Protocol):
    """The face models of a pack."""

    min_score: float  # a face must reach it
    border: int  # OpenCV border mode for the part of a crop that lies outside the frame

    def find(self, frame: np.ndarray) -> tuple[list[FoundFace], float]:
        """All faces of an (H, W, 3) RGB frame, largest first, and the best score seen even if none passed."""

    def track(self, frame: np.ndarray, previous: np.ndarray) -> FoundFace | None:
        """The face near the `previous` landmarks, or None when it is lost."""

    def crop_points(self, landmarks: np.ndarray) -> np.ndarray:
        """The points, (k, 2), that the crop square must enclose."""

    def describe(self, crop: np.ndarray, landmarks: np.ndarray) -> FaceDescription:
        """Motion and appearance of a 512 crop, given the found landmarks in crop pixels."""


@dataclass(frozen=True)
class SourceInfo:
    """The result for one frame; shapes as in `core.avatar.Avatar`, without the frame axis."""

    face: FoundFace
    M_c2o: np.ndarray
    motion: Motion
    feature: Any
    eye_open: np.ndarray
    eye_ball: np.ndarray


class Source2Info:
    """Crops a found face and describes it with the pack's models."""

    def __init__(self, analyser: FaceAnalyser, options: CropOptions):
        self._analyser = analyser
        self._options = options

    def __call__(self, frame: np.ndarray, face: FoundFace) -> SourceInfo:
        """Describe `face` in `frame` ((H, W, 3) uint8 RGB)."""
        options = self._options
        crop = crop_image(
            frame,
            face.landmarks[:, :2],
            size=CROP_SIZE,
            enclosed=self._analyser.crop_points(face.landmarks),
            options=options,
            border=self._analyser.border,
        )
        points = face.landmarks.copy()
        points[:, :2] = crop.to_crop(points[:, :2])
        seen = self._analyser.describe(crop.image, points)
        eye_open, eye_ball = eye_state(seen.landmarks / np.float32(CROP_SIZE))
        return SourceInfo(face, crop.M_c2o, seen.motion, seen.feature, eye_open, eye_ball)
