"""Short-range face detector of the embedded pack: boxes and six points per face (spec lite.md section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike

import cv2
import numpy as np

from core.backends.onnx import load_session
from core.errors import InputError

INPUT_SIZE = 128
MIN_SCORE = 0.5
OVERLAP = 0.3
# (cells per side, anchors per cell): stride 8 and stride 16
ANCHOR_GRIDS = ((16, 2), (8, 6))
# canvas sides in longest image sides: as it is, then padded for faces that fill the photo
CANVASES = (1.0, 1.6, 2.5)


@dataclass(frozen=True)
class Detection:
    """One face in image pixels: `box` (4,) x0, y0, x1, y1; `points` (6, 2): eyes, nose, mouth, ears; float32."""

    score: float
    box: np.ndarray
    points: np.ndarray

    @property
    def area(self) -> float:
        """Box area in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class FaceDetector:
    """Finds faces in pictures of any size. Calls are independent of each other."""

    def __init__(self, path: str | PathLike[str], threads: int = 1):
        """Load face_detection_short_range.onnx. Raises PackError when it is missing or something else."""
        self._session = load_session(path, threads).require(("input",), ("regressors", "classificators"))
        self._anchors = _anchors()

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
        values = out["regressors"][0].reshape(-1, 8, 2) / INPUT_SIZE
        middle, size, points = values[:, :1] + self._anchors, values[:, 1:2], values[:, 2:] + self._anchors
        shapes = np.concatenate([middle - size / 2, middle + size / 2, points], axis=1)
        scores = 1 / (1 + np.exp(-np.clip(out["classificators"][0, :, 0], -80, 80)))
        return scores, shapes * np.float32(side) + corner


def check_picture(rgb: np.ndarray) -> None:
    """Raise InputError unless `rgb` is (H, W, 3) uint8 and not empty."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        found = f"{rgb.dtype} {list(rgb.shape)}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise InputError(f"a picture for the face finder must be uint8 (height, width, 3) RGB, found {found}")


def weighted_nms(scores: np.ndarray, shapes: np.ndarray, overlap: float = OVERLAP) -> list[Detection]:
    """Merge the candidates of each face into their score-weighted mean.

    Args:
        scores: (n,) scores.
        shapes: (n, 8, 2) box corners and six points.
        overlap: intersection over union with the best candidate above which another one is the same face.
    """
    faces = []
    order = np.argsort(-scores, kind="stable")
    while order.size:
        same = box_overlap(shapes[order[0], :2].ravel(), shapes[order, :2].reshape(-1, 4)) > overlap
        same[0] = True
        cluster = order[same]
        mean = np.average(shapes[cluster], axis=0, weights=scores[cluster]).astype(np.float32)
        faces.append(Detection(float(scores[order[0]]), mean[:2].ravel(), mean[2:]))
        order = order[~same]
    return faces


def box_overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (n,) of one box (4,) with others (n, 4), all x0, y0, x1, y1."""
    size = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    common = size.prod(axis=1)
    area = np.prod(box[2:] - box[:2]) + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - common
    return common / np.maximum(area, 1e-9)


def _half_size_centres(width: int, height: int) -> list[tuple[float, float]]:
    """Centres of the squares of half the longest side that cover the picture with an overlap of one half."""
    step = max(width, height) / 4

    def line(length: int) -> np.ndarray:
        count = max(int(round(length / step)) - 1, 1)
        return length / 2 + (np.arange(count) - (count - 1) / 2) * step

    return [(float(x), float(y)) for y in line(height) for x in line(width)]


def _anchors() -> np.ndarray:
    """Anchor centres (896, 1, 2) in units of the input side."""
    grids = []
    for cells, per_cell in ANCHOR_GRIDS:
        rows, columns = np.mgrid[:cells, :cells]
        grids.append(np.repeat((np.stack([columns, rows], -1).reshape(-1, 2) + 0.5) / cells, per_cell, axis=0))
    return np.concatenate(grids).astype(np.float32)[:, None]
