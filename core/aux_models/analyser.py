"""The face models of the official packs, as registration wants them: find, track, describe (spec pipeline.md 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from core.aux_models.landmark203 import CROP_SIZE as VIEW_SIZE
from core.aux_models.scrfd_detector import ScrfdDetector
from core.errors import InputError
from core.interfaces import FaceDescription, FoundFace
from core.motion import KP_DIM, SLICES, Motion
from core.settings.options import CropOptions
from core.utils.crop import crop_image, face_parts
from core.utils.picture import to_blob
from core.utils.roi import Roi, roi_around
from core.utils.tracking import is_same_face

VIEW = CropOptions(crop_scale=1.5, crop_vy_ratio=-0.1)  # what the 203 landmarks are found on
NETWORK_SIZE = 256
TRACKED_SCORE = 1.0  # the landmark network gives none


class OfficialAnalyser:
    """Faces as 203 landmarks; motion and appearance from networks."""

    border = cv2.BORDER_CONSTANT  # the networks have seen black where a crop leaves the picture
    steady_crop = False  # spec 5: each frame of a video has the crop of its own landmarks

    def __init__(
        self,
        detector: ScrfdDetector,
        landmark106: Callable[[np.ndarray, np.ndarray], np.ndarray],
        landmark203: Callable[[np.ndarray, np.ndarray], np.ndarray],
        landmark478: Callable[[np.ndarray, Roi | None], np.ndarray | None],
        motion_extractor: Callable[[np.ndarray], Mapping[str, np.ndarray]],
        appearance_extractor: Callable[[np.ndarray], Any],
    ):
        """The four finders as in their files.

        Args:
            motion_extractor: (1, 3, 256, 256) float32 RGB in 0..1 -> pitch, yaw, roll (1, 66), t (1, 3), exp (1, 63),
                scale (1, 1), kp (1, 63) by name.
            appearance_extractor: the same picture -> feature volume (1, 32, 16, 64, 64), handed on as it is.
        """
        self._detector = detector
        self._landmark106, self._landmark203, self._landmark478 = landmark106, landmark203, landmark478
        self._motion, self._appearance = motion_extractor, appearance_extractor
        self.min_score = detector.min_score

    def find(self, frame: np.ndarray) -> tuple[list[FoundFace], float]:
        """All faces of an (H, W, 3) uint8 RGB frame, largest first, and the best score even if none passed."""
        faces = self._detector(frame)
        found = []
        for index in faces.by_area():
            rough = self._landmark106(frame, faces.boxes[index])
            found.append(FoundFace(self._refined(frame, rough), float(faces.scores[index])))
        return found, faces.best

    def track(self, frame: np.ndarray, previous: np.ndarray) -> FoundFace | None:
        """The face near the `previous` landmarks (203, 2), or None when it is lost.

        Landmarks that jump, shrink, grow or leave the frame are not believed; then the whole frame is searched.
        """
        landmarks = self._refined(frame, previous)
        if is_same_face(landmarks, previous, frame.shape[1::-1]):
            return FoundFace(landmarks, TRACKED_SCORE)
        centre = previous.mean(axis=0)
        faces, _ = self.find(frame)
        return min(faces, key=lambda face: np.linalg.norm(face.landmarks.mean(axis=0) - centre), default=None)

    def crop_points(self, landmarks: np.ndarray) -> np.ndarray:
        """The points, (203, 2), that the crop square encloses: all."""
        return landmarks[:, :2]

    def describe(self, crop: np.ndarray, landmarks: np.ndarray) -> FaceDescription:
        """Motion of a 512 crop, and 478 points for the eyes.

        Raises InputError when no face is recognised in the crop.
        """
        mesh = self._landmark478(crop, _region(landmarks))
        if mesh is None:
            raise InputError("no eyes recognised in the face crop; use a picture that shows the face from the front")
        height, width = crop.shape[:2]
        motion = motion_from_outputs(self._motion(_network_input(crop)))
        return FaceDescription(mesh * np.array([width, height, width], np.float32), motion)

    def settle(self, motion: Motion) -> Motion:
        """The motion of a video as it is: the extractor tells the person from the expression in every frame."""
        return motion

    def video_look(self, meshes: np.ndarray, crop_of: Callable[[int], np.ndarray]) -> None:
        """Nothing: each frame of a video has an appearance of its own."""

    def feature(self, crop: np.ndarray, mesh: np.ndarray, look: None = None) -> Any:
        """Appearance volume of a 512 crop, as the renderer takes it."""
        return self._appearance(_network_input(crop))

    def _refined(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """203 landmarks (203, 2) of the face that rougher or older `landmarks` show."""
        view = crop_image(frame, landmarks, size=VIEW_SIZE, options=VIEW, border=self.border)
        return self._landmark203(view.image, view.M_c2o)


def _network_input(crop: np.ndarray) -> np.ndarray:
    """512 crop -> (1, 3, 256, 256) float32 RGB in 0..1."""
    return to_blob(cv2.resize(crop, (NETWORK_SIZE, NETWORK_SIZE), interpolation=cv2.INTER_AREA), 1 / 255)


def motion_from_outputs(outputs: Mapping[str, np.ndarray]) -> Motion:
    """Outputs of the motion extractor, by name, -> one frame of `Motion` with its canonical keypoints."""
    parts = [np.asarray(outputs[name], np.float32).reshape(1, -1) for name in SLICES]
    data = np.concatenate(parts, axis=1)
    data[:, SLICES["scale"]] -= 1
    return Motion(data, np.asarray(outputs["kp"], np.float32).reshape(1, KP_DIM))


def _region(landmarks: np.ndarray) -> Roi:
    """Where the mesh should look for the face that the landmarks (203, 2) show."""
    left, right, _ = face_parts(landmarks)
    return roi_around(landmarks.min(axis=0), landmarks.max(axis=0), left, right)
