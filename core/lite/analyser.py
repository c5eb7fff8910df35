"""The face models of the embedded pack, as registration wants them: find, crop, describe (spec lite.md 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from core.interfaces import FaceDescription, FoundFace
from core.lite.appearance import LiteFeature
from core.lite.face_tracker import Face, FaceTracker
from core.lite.mesh_regions import BROWS, JAW
from core.lite.motion_space import LIP_SLOTS, FaceSpace
from core.lite.video_look import VideoLook
from core.motion import EXP, FPS, Motion, keypoint_mask, smooth

MOUTH_MEAN = 2 * FPS + 1  # frames; short enough for the mesh's errors that come with a turn of the head


class MeshAnalyser:
    """Faces as 478-point meshes; motion is read off the mesh."""

    border = cv2.BORDER_REPLICATE  # where the crop leaves the picture the renderer must not pull in black
    steady_crop = True  # a crop that follows every landmark makes all that is drawn in it shimmer

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
        """Motion of a 512 crop; the mesh is placed once more, on the crop itself."""
        face = self._tracker.track(crop, landmarks)
        mesh = landmarks if face is None else face.mesh
        return FaceDescription(mesh, self._space.source_keypoints(mesh).motion)

    def settle(self, motion: Motion) -> Motion:
        """The motion of a video with what the mouth does taken out of `kp` and put into `exp`.

        A single frame cannot tell a person's mouth from the shape it has just then, so `kp` (n, 63) holds both; over
        the time of a few words only the person's own remains. Without this the source's speech shows through.
        """
        lips = keypoint_mask(LIP_SLOTS)
        own = lips * (motion.kp - smooth(motion.kp, MOUTH_MEAN))
        data = motion.data.copy()
        data[:, EXP] += own
        return Motion(data, motion.kp - own)

    def video_look(self, meshes: np.ndarray, crop_of: Callable[[int], np.ndarray]) -> VideoLook:
        """What the frames of a video share, see `VideoLook.find`."""
        return VideoLook.find(meshes, crop_of)

    def feature(self, crop: np.ndarray, mesh: np.ndarray, look: VideoLook | None = None) -> LiteFeature:
        """Appearance of a 512 crop, of a video's frame with the video's look."""
        return LiteFeature(crop, mesh, look)


def _found(face: Face) -> FoundFace:
    return FoundFace(face.mesh, face.score)
