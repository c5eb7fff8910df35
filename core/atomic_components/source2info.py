"""One source frame -> what is known of it (spec pipeline.md section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from core.motion import Motion
from core.settings.options import CropOptions
from core.utils.crop import Square, cut_square, oriented_square
from core.utils.eyes import eye_state
from core.utils.picture import sharpness

CROP_SIZE = 512


@dataclass(frozen=True)
class FoundFace:
    """A face in a frame: `landmarks` (m, 2 or more) float32 in frame pixels, as many as the pack's finder gives."""

    landmarks: np.ndarray
    score: float


@dataclass(frozen=True)
class FaceDescription:
    """What a pack sees in one 512 crop: 478 landmarks (478, 3) float32 in crop pixels, and motion with `kp`."""

    landmarks: np.ndarray
    motion: Motion


class FaceAnalyser(Protocol):
    """The face models of a pack."""

    min_score: float  # a face must reach it
    border: int  # OpenCV border mode for the part of a crop that lies outside the frame
    steady_crop: bool  # in a video the crop may lag behind the face, so as to rest while that moves little

    def find(self, frame: np.ndarray) -> tuple[list[FoundFace], float]:
        """All faces of an (H, W, 3) RGB frame, largest first, and the best score seen even if none passed."""

    def track(self, frame: np.ndarray, previous: np.ndarray) -> FoundFace | None:
        """The face near the `previous` landmarks, or None when it is lost."""

    def crop_points(self, landmarks: np.ndarray) -> np.ndarray:
        """The points, (k, 2), that the crop square must enclose."""

    def describe(self, crop: np.ndarray, landmarks: np.ndarray) -> FaceDescription:
        """What a 512 crop shows, given the found landmarks in crop pixels. Raises InputError when that is no face."""

    def settle(self, motion: Motion) -> Motion:
        """The motion of a whole video, from those of its frames as `describe` gave them."""

    def video_look(self, meshes: np.ndarray, crop_of: Callable[[int], np.ndarray]) -> Any:
        """What the features of a video's n frames share: meshes (n, 478, 3), number of a frame -> its 512 crop."""

    def feature(self, crop: np.ndarray, mesh: np.ndarray, look: Any = None) -> Any:
        """Appearance of a 512 crop with the mesh (478, 3) of its description; only the pack's warp looks inside.

        `look`: in a video, what `video_look` gave.
        """


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


def cut_again(frame: np.ndarray, M_c2o: np.ndarray, border: int) -> np.ndarray:
    """The (512, 512, 3) crop that a registered frame had, from the frame and its M_c2o (3, 3)."""
    M_o2c = np.linalg.inv(M_c2o.astype(np.float64))
    size = (CROP_SIZE, CROP_SIZE)
    return cv2.warpAffine(frame, M_o2c[:2], size, flags=cv2.INTER_LINEAR, borderMode=border)
