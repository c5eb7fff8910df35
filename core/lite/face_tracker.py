"""Detector and mesh together: all faces of a photo, or one face through a video (spec lite.md section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from core.lite.face_detector import FaceDetector
from core.lite.face_mesh import FaceMesh, roi_from_detection, roi_from_mesh
from core.utils.blaze import MIN_SCORE, Detection, box_overlap
from core.utils.tracking import is_same_face

DETECTOR_FILE = "face_detection_short_range.onnx"
MESH_FILE = "face_landmark_with_attention.onnx"
SAME_FACE = 0.4  # overlap of two mesh boxes above which they are one face found twice
MAX_PASSES = 4
MAX_TURN = np.radians(8)  # tilt left over after a pass; a head on its side (90 degrees) needs three or four passes


@dataclass(frozen=True)
class Face:
    """`mesh` (478, 3) float32 in image pixels; `score` 0..1, `detection` is None for a face that was tracked."""

    mesh: np.ndarray
    score: float
    detection: Detection | None = None

    @property
    def box(self) -> np.ndarray:
        """Bounds (4,) of the mesh: x0, y0, x1, y1."""
        xy = self.mesh[:, :2]
        return np.concatenate([xy.min(axis=0), xy.max(axis=0)])

    @property
    def area(self) -> float:
        """Area of the bounds in square pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))


class FaceTracker:
    """Finds faces with the detector and places their meshes; keeps no state between calls."""

    min_score = MIN_SCORE

    def __init__(self, detector: FaceDetector, mesh: FaceMesh):
        self._detector, self._mesh = detector, mesh

    @classmethod
    def load(cls, pack: str | PathLike[str], threads: int = 1) -> FaceTracker:
        """Load both models from a pack's folder. Raises PackError when one is missing or damaged."""
        pack = Path(pack)
        return cls(FaceDetector(pack / DETECTOR_FILE, threads), FaceMesh(pack / MESH_FILE, threads))

    def static(self, rgb: np.ndarray) -> tuple[list[Face], float]:
        """All faces of an (H, W, 3) uint8 RGB picture, largest first, and the best score even if none passed.

        The mesh is run at least twice, since the detector's box is loose. A face's score is the lower of
        the detector's and the mesh's.
        """
        best = 0.0
        for detections, score in self._detector.attempts(rgb):
            if not detections:
                best = max(best, score)
            found = [self._place(rgb, detection) for detection in detections]
            best = max([best, *(face.score for face in found)])
            faces = _distinct([face for face in found if face.score >= self.min_score])
            if faces:
                return faces, best
        return [], best

    def track(self, rgb: np.ndarray, previous_mesh: np.ndarray) -> Face | None:
        """The face at or near `previous_mesh` (478, 3) in the next video frame, or None when there is none.

        One run of the mesh; when its score is below `min_score`, or the mesh is no continuation of the previous one,
        the frame is searched as a photo and the face nearest to the previous one is taken.
        """
        mesh, score = self._mesh(rgb, roi_from_mesh(previous_mesh))
        if score >= self.min_score and is_same_face(mesh[:, :2], previous_mesh[:, :2], rgb.shape[1::-1]):
            return Face(mesh, score)
        faces, _ = self.static(rgb)
        centre = previous_mesh[:, :2].mean(axis=0)
        return min(faces, key=lambda face: np.linalg.norm(face.mesh[:, :2].mean(axis=0) - centre), default=None)

    def _place(self, rgb: np.ndarray, detection: Detection) -> Face:
        """Mesh of a detected face: two passes, more while the head turns out to be tilted further than thought."""
        roi = roi_from_detection(detection)
        for passes in range(1, MAX_PASSES + 1):
            mesh, score = self._mesh(rgb, roi)
            better = roi_from_mesh(mesh)
            settled = passes > 1 and abs(np.angle(np.exp(1j * (better.angle - roi.angle)))) < MAX_TURN
            if score < self.min_score or settled:
                break
            roi = better
        return Face(mesh, min(detection.score, score), detection)


def _distinct(faces: list[Face]) -> list[Face]:
    """Largest first, without second finds of a face that is already there."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.area):
        boxes = np.array([other.box for other in kept]).reshape(-1, 4)
        if not (box_overlap(face.box, boxes) > SAME_FACE).any():
            kept.append(face)
    return kept
