"""Short-range face detector of the embedded pack: boxes and six points per face (spec lite.md section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

import cv2
import numpy as np

from core.backends.onnx import load_session
from core.utils.blaze import INPUT_SIZE, MIN_SCORE, Detection, anchor_centres, decode, weighted_nms
from core.utils.picture import check_picture

# canvas sides in longest image sides: as it is, then padded for faces that fill the photo
CANVASES = (1.0, 1.6, 2.5)


class FaceDetector:
    """Finds faces in pictures of any size. Calls are independent of each other."""

    def __init__(self, path: str | PathLike[str], threads: int = 1):
        """Load face_detection_short_range.onnx. Raises PackError when it is missing or something else."""
        self._session = load_session(path, threads).require(("input",), ("regressors", "classificators"))
        self._anchors = anchor_centres()

    def detect(self, rgb: np.ndarray) -> tuple[list[Detection], float]:
        """Faces of an (H, W, 3) uint8 RGB picture, largest first, and the best score seen even if none passed.

        Raises InputError when the picture has another shape or dtype.
        """
        best = 0.0
        for faces, score in self.attempts(rgb):
            best = max(best, score)
            if faces:
                return faces, best
        return [], best

    def attempts(self, rgb: np.ndarray) -> Iterator[tuple[list[Detection], float]]:
        """The same picture looked at in ever more costly ways, each as by `detect`: whole, padded, half-size crops."""
        check_picture(rgb)
        height, width = rgb.shape[:2]
        longest = max(height, width)
        for scale in CANVASES:
            yield self._look(rgb, [(width / 2, height / 2)], longest * scale)
        yield self._look(rgb, _half_size_centres(width, height), longest / 2)

    def _look(self, rgb: np.ndarray, centres: list[tuple[float, float]], side: float) -> tuple[list[Detection], float]:
        """Detect in squares of `side` pixels around `centres` and merge what they found."""
        scores, shapes = zip(*(self._raw(rgb, centre, side) for centre in centres), strict=True)
        scores, shapes = np.concatenate(scores), np.concatenate(shapes)
        keep = scores >= MIN_SCORE
        faces = weighted_nms(scores[keep], shapes[keep])
        return sorted(faces, key=lambda face: -face.area), float(scores.max())

    def _raw(self, rgb: np.ndarray, centre: tuple[float, float], side: float) -> tuple[np.ndarray, np.ndarray]:
        """Scores (896,) and shapes (896, 8, 2) in image pixels: two box corners and six points per anchor."""
        corner = np.array(centre, np.float32) - np.float32(side / 2)
        scale = INPUT_SIZE / side
        to_input = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale], [0, 0, 1]])
        square = cv2.warpPerspective(rgb, to_input, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR)
        out = self._session.run(input=square[None].astype(np.float32) / 127.5 - 1)
        scores, shapes = decode(out["regressors"], out["classificators"], self._anchors)
        return scores, shapes * np.float32(side) + corner


def _half_size_centres(width: int, height: int) -> list[tuple[float, float]]:
    """Centres of the squares of half the longest side that cover the picture with an overlap of one half."""
    step = max(width, height) / 4

    def line(length: int) -> np.ndarray:
        count = max(int(round(length / step)) - 1, 1)
        return length / 2 + (np.arange(count) - (count - 1) / 2) * step

    return [(float(x), float(y)) for y in line(height) for x in line(width)]
