"""The face models of the embedded pack, as registration wants them: find, crop, describe (spec lite.md 2 and 3)."""

from __future__ import annotations

import cv2
import numpy as np

from core.atomic_components.source2info import FaceDescription, FoundFace
from core.lite.appearance import LiteFeature
from core.lite.face_tracker import Face, FaceTracker
from core.lite.mesh_regions import BROWS, JAW
from core.lite.motion_space import FaceSpace


class MeshAnalyser:
    """Faces as 478-point meshes; motion is read off the mesh."""

    border = cv2.BORDER_REPLICATE  # where the crop leaves the picture the renderer must not pull in black

    def __init__(self, tracker: FaceTracker, space: FaceSpace):
        self._tracker = tracker
        self._space = space
        self.min_score = tracker.min_score

    def find(self, frame: np.ndarray) -> tuple[list[FoundFace], float]:
        """All faces of an (H, W, 3) uint8 RGB frame, largest first, and the best score even if none passed."""
        faces, best = self._tracker.static(frame)
        return [_found(face) for face in faces], best

    def track(self, frame: np.ndarray, previous: np.ndarray) -> FoundFace | None:
        """The face near the `previous` landmarks (478, 3), or None when it is lost."""
        face = self._tracker.track(frame, previous)
        return None if face is None else _found(face)

    def crop_points(self, landmarks: np.ndarray) -> np.ndarray:
        """The points, (k, 2), that the crop square encloses: brows to chin, as crop scales are meant."""
        return landmarks[list(BROWS + JAW), :2]

    def describe(self, crop: np.ndarray, landmarks: np.ndarray) -> FaceDescription:
        """Motion and appearance of a 512 crop; the mesh is placed once more, on the crop itself."""
        face = self._tracker.track(crop, landmarks)
        mesh = landmarks if face is None else face.mesh
        source = self._space.source_keypoints(mesh)
        return FaceDescription(mesh, source.motion, LiteFeature(crop, mesh))


def _found(face: Face) -> FoundFace:
    return FoundFace(face.mesh, face.score)
