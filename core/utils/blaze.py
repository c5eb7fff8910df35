"""BlazeFace: anchors, decoding and merging of what the short-range face detector puts out (spec pipeline.md 5.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INPUT_SIZE = 128
MIN_SCORE = 0.5
OVERLAP = 0.3
# (cells per side, anchors per cell): stride 8 and stride 16
ANCHOR_GRIDS = ((16, 2), (8, 6))


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


def anchor_centres() -> np.ndarray:
    """Anchor centres (896, 1, 2) float32 in units of the input side."""
    grids = []
    for cells, per_cell in ANCHOR_GRIDS:
        rows, columns = np.mgrid[:cells, :cells]
        grids.append(np.repeat((np.stack([columns, rows], -1).reshape(-1, 2) + 0.5) / cells, per_cell, axis=0))
    return np.concatenate(grids).astype(np.float32)[:, None]


def decode(regressors: np.ndarray, logits: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Network output -> scores (896,) and shapes (896, 8, 2) in units of the input side: two box corners, six points.

    Args:
        regressors: (1, 896, 16) centre, size and points in input pixels, relative to the anchor.
        logits: (1, 896, 1) raw scores.
        anchors: as from `anchor_centres`.
    """
    values = regressors.reshape(-1, 8, 2) / INPUT_SIZE
    middle, size, points = values[:, :1] + anchors, values[:, 1:2], values[:, 2:] + anchors
    shapes = np.concatenate([middle - size / 2, middle + size / 2, points], axis=1)
    return 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -80, 80))), shapes


def weighted_nms(scores: np.ndarray, shapes: np.ndarray, overlap: float = OVERLAP) -> list[Detection]:
    """Merge the candidates of each face into their score-weighted mean; the best first, with the score of the best.

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


def box_overlap(box: np.ndarray, boxes: np.ndarray, border: float = 0.0) -> np.ndarray:
    """Intersection over union (n,) of one box (4,) with others (n, 4), all x0, y0, x1, y1.

    `border` is added to every width and height; 1 counts both edge pixels.
    """
    size = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]) + border, 0, None)
    common = size.prod(axis=1)
    area = np.prod(box[2:] - box[:2] + border) + (boxes[:, 2:] - boxes[:, :2] + border).prod(axis=1) - common
    return common / np.maximum(area, 1e-9)
