"""One source frame -> what is known of it (spec pipeline.md section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.interfaces import FaceAnalyser, FoundFace
from core.motion import Motion
from core.settings.options import CropOptions
from core.utils.crop import CROP_SIZE, Square, cut_square, oriented_square
from core.utils.eyes import eye_state
from core.utils.picture import sharpness


@dataclass(frozen=True)
class SourceInfo:
    """The result for one frame; shapes as in `core.avatars.avatar.Avatar`, without the frame axis."""

    M_c2o: np.ndarray
    motion: Motion
    eye_open: np.ndarray
    eye_ball: np.ndarray
    mesh: np.ndarray
    sharpness: float


class Source2Info:
    """Crops a found face and describes it with the pack's models."""

    def __init__(self, analyser: FaceAnalyser, options: CropOptions, steady: Callable[[Square], Square] | None = None):
        """steady: makes the crop of a frame from the one that its landmarks ask for."""
        self._analyser, self._options, self._steady = analyser, options, steady

    def __call__(self, frame: np.ndarray, face: FoundFace) -> SourceInfo:
        """Describe `face` in `frame` ((H, W, 3) uint8 RGB). Raises InputError when the crop shows no face."""
        options, analyser = self._options, self._analyser
        square = oriented_square(
            face.landmarks[:, :2],
            options.crop_scale,
            options.crop_vx_ratio,
            options.crop_vy_ratio,
            enclosed=analyser.crop_points(face.landmarks),
        )
        if self._steady is not None:
            square = self._steady(square)
        crop = cut_square(frame, square, CROP_SIZE, options.crop_flag_do_rot, analyser.border)
        points = face.landmarks.copy()
        points[:, :2] = crop.to_crop(points[:, :2])
        seen = analyser.describe(crop.image, points)
        eye_open, eye_ball = eye_state(seen.landmarks / np.float32(CROP_SIZE))
        return SourceInfo(crop.M_c2o, seen.motion, eye_open, eye_ball, seen.landmarks, sharpness(crop.image))
