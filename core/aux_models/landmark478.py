"""478 landmarks on the face crop, for the state of the eyes: two networks, or MediaPipe (spec models.md 12.4)."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.aux_models.session import run_single, shaped
from core.backends.session import Session
from core.errors import PackError
from core.utils.blaze import INPUT_SIZE, MIN_SCORE, Detection, anchor_centres, decode, weighted_nms
from core.utils.picture import check_picture
from core.utils.roi import Roi, crop_roi, roi_around

MESH_SIZE = 256
NUM_POINTS = 478


class BlazeFace:
    """The detector of the pair: faces that fill a good part of the picture."""

    def __init__(self, session: Session):
        self._session = session
        self._anchors = anchor_centres()

    def __call__(self, rgb: np.ndarray) -> list[Detection]:
        """Faces of an (H, W, 3) uint8 picture in its pixels, the best first."""
        height, width = rgb.shape[:2]
        small = cv2.resize(rgb, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_LINEAR)
        out = run_single(self._session, small[None].astype(np.float32) / 127.5 - 1)
        rows = len(self._anchors)
        regressors = shaped(self._session, out["regressors"], 16, rows)
        logits = shaped(self._session, out["classificators"], 1, rows)
        scores, shapes = decode(regressors, logits, self._anchors)
        keep = scores >= MIN_SCORE
        return weighted_nms(scores[keep], shapes[keep] * np.array([width, height], np.float32))


class FaceMesh256:
    """The landmark network of the pair: 478 points of the face in a region."""

    def __init__(self, session: Session):
        self._session = session

    def __call__(self, rgb: np.ndarray, roi: Roi) -> np.ndarray:
        """Points (478, 3) float32 in pixels of `rgb` (H, W, 3) uint8; z in the same unit."""
        view = crop_roi(rgb, roi, MESH_SIZE)[None].astype(np.float32) / 255
        out = next(iter(run_single(self._session, view).values()))
        points = shaped(self._session, out, 3, NUM_POINTS) / MESH_SIZE
        points[:, :2] -= 0.5
        return roi.to_image(points)


class Landmark478:
    """Detector and mesh of the exported packs."""

    def __init__(self, detector: BlazeFace, mesh: FaceMesh256):
        self._detector, self._mesh = detector, mesh

    def __call__(self, rgb: np.ndarray, expected: Roi | None = None) -> np.ndarray | None:
        """Points (478, 3) float32, x and z over the width and y over the height of `rgb` (H, W, 3) uint8.

        `expected` is where to look when the detector finds no face; without it the answer is then None.
        """
        check_picture(rgb)
        faces = self._detector(rgb)
        roi = roi_around(faces[0].box[:2], faces[0].box[2:], *faces[0].points[:2]) if faces else expected
        if roi is None:
            return None
        height, width = rgb.shape[:2]
        return self._mesh(rgb, roi) / np.array([width, height, width], np.float32)


class MediaPipe478:
    """The same from a MediaPipe `.task` file, which the PyTorch pack has. Needs the extra `mediapipe`."""

    def __init__(self, path: str | PathLike[str]):
        """Load face_landmarker.task. Raises PackError when it, or the package that reads it, is missing."""
        if not Path(path).is_file():
            raise PackError(f"model file {path} is missing; restore the pack (download it again)")
        mediapipe = _mediapipe()
        vision, tasks = mediapipe.tasks.vision, mediapipe.tasks
        options = vision.FaceLandmarkerOptions(tasks.BaseOptions(model_asset_path=str(path)), num_faces=1)
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise PackError(f"{path} is no face landmarker of MediaPipe ({error}); download it again") from error
        self._image = lambda rgb: mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(rgb))

    def __call__(self, rgb: np.ndarray, expected: Roi | None = None) -> np.ndarray | None:
        """As `Landmark478`; `expected` is not used, MediaPipe cannot be told where to look."""
        check_picture(rgb)
        faces = self._landmarker.detect(self._image(rgb)).face_landmarks
        return np.array([[p.x, p.y, p.z] for p in faces[0]], np.float32) if faces else None

    def close(self) -> None:
        """Free what MediaPipe holds."""
        self._landmarker.close()


def _mediapipe() -> Any:
    try:
        import mediapipe
    except ImportError as error:
        raise PackError(
            "face_landmarker.task needs MediaPipe: pip install -e '.[mediapipe]', "
            "or use a pack that has blaze_face and face_mesh"
        ) from error
    return mediapipe
