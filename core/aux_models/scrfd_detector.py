"""SCRFD face detector with five key points: what goes into the network and what comes out (spec models.md 12.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from core.aux_models.session import label, run_single, shaped
from core.backends.session import Session
from core.errors import PackError
from core.utils.blaze import box_overlap
from core.utils.picture import check_picture, to_blob

DEFAULT_SIZE = 512  # of a model whose file leaves the input size open
STRIDES = (8, 16, 32)
ANCHORS_PER_CELL = 2
NUM_POINTS = 5
MIN_SCORE = 0.5
MAX_OVERLAP = 0.4
# share of the input's side that the picture gets: all, then half if nothing was found, for faces that fill the picture
SHARES = (1.0, 0.5)
OUTPUTS = ("scores1", "scores2", "scores3", "boxes1", "boxes2", "boxes3", "kps1", "kps2", "kps3")


@dataclass(frozen=True)
class Faces:
    """n faces in picture pixels, the best first; float32.

    Attributes:
        boxes: (n, 4) x0, y0, x1, y1, not clipped to the picture.
        scores: (n,) in 0..1.
        points: (n, 5, 2) eyes, nose, mouth corners.
        best: highest score of all candidates, also of those that did not pass.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray
    best: float

    def by_area(self) -> np.ndarray:
        """Indices (n,) of the faces, the largest first."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        return np.argsort(-width * height, kind="stable")


class ScrfdDetector:
    """Finds faces in pictures of any size. Calls are independent of each other."""

    min_score = MIN_SCORE

    def __init__(self, session: Session, rgb_order: bool = False):
        """rgb_order: hand over channels as the network was trained; off, reversed as in the official pipeline."""
        self._session = session
        self._swap = not rgb_order
        if len(session.outputs) != len(OUTPUTS):
            raise PackError(
                f"{label(session)}: a face detector with key points has {len(OUTPUTS)} outputs, "
                f"found {', '.join(session.outputs)}; not the right model"
            )
        self._centres = [_anchor_centres(*self.input_size, stride) for stride in STRIDES]

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels."""
        height, width = next(iter(self._session.inputs.values())).shape[2:]
        return tuple(side if isinstance(side, int) and side > 0 else DEFAULT_SIZE for side in (height, width))

    def __call__(self, rgb: np.ndarray, min_score: float = MIN_SCORE) -> Faces:
        """Faces of an (H, W, 3) uint8 RGB picture. Raises InputError when it has another shape or dtype."""
        check_picture(rgb)
        best = 0.0
        for share in SHARES:
            faces = self._look(rgb, share, min_score)
            best = max(best, faces.best)
            if len(faces.scores):
                break
        return replace(faces, best=best)

    def _look(self, rgb: np.ndarray, share: float, min_score: float) -> Faces:
        """One run of the network."""
        canvas, factor = letterbox(rgb, self.input_size, share)
        out = run_single(self._session, to_blob(canvas, 1 / 128, 127.5, swap=self._swap))
        levels = [out[name] for name in (OUTPUTS if OUTPUTS[0] in out else out)]
        scores, boxes, points = (np.concatenate(part) for part in self._candidates(levels, min_score))
        order = np.argsort(-scores, kind="stable")
        boxes, points = boxes[order] / factor, points[order] / factor
        kept = suppress(boxes)
        best = max(float(level.max()) for level in levels[: len(STRIDES)])
        return Faces(boxes[kept], scores[order][kept], points[kept], best)

    def _candidates(self, levels: list[np.ndarray], min_score: float) -> tuple[list, list, list]:
        """Scores (k,), boxes (k, 4) and points (k, 5, 2) of each level's passing rows, in input pixels."""
        found = [], [], []
        for level, (centres, stride) in enumerate(zip(self._centres, STRIDES, strict=True)):
            scores, distances, offsets = (
                shaped(self._session, levels[level + len(STRIDES) * part], width, len(centres))
                for part, width in enumerate((1, 4, 2 * NUM_POINTS))
            )
            rows = np.flatnonzero(scores[:, 0] >= min_score)
            centre, reach = centres[rows], distances[rows] * stride
            found[0].append(scores[rows, 0])
            found[1].append(np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1))
            found[2].append(centre[:, None] + offsets[rows].reshape(-1, NUM_POINTS, 2) * stride)
        return found


def letterbox(rgb: np.ndarray, size: tuple[int, int], share: float = 1.0) -> tuple[np.ndarray, float]:
    """The picture scaled into the top left `share` of a black canvas of `size` (height, width), and the scale."""
    ratio = rgb.shape[0] / rgb.shape[1]
    high, wide = (int(side * share) for side in size)
    if ratio > high / wide:
        height, width = high, int(high / ratio)
    else:
        height, width = int(wide * ratio), wide
    height, width = max(height, 1), max(width, 1)
    canvas = np.zeros((*size, 3), np.uint8)
    canvas[:height, :width] = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return canvas, height / rgb.shape[0]


def suppress(boxes: np.ndarray) -> np.ndarray:
    """Indices of the boxes (n, 4), best first, that do not cover a better one; edge pixels count."""
    kept, order = [], np.arange(len(boxes))
    while order.size:
        kept.append(order[0])
        order = order[1:][box_overlap(boxes[order[0]], boxes[order[1:]], border=1.0) <= MAX_OVERLAP]
    return np.array(kept, np.intp)


def _anchor_centres(height: int, width: int, stride: int) -> np.ndarray:
    """(rows, 2) float32 x, y in input pixels: cells row by row, a cell's anchors next to each other."""
    y, x = np.mgrid[: height // stride, : width // stride]
    cells = np.stack([x, y], axis=-1).reshape(-1, 2) * stride
    return np.repeat(cells, ANCHORS_PER_CELL, axis=0).astype(np.float32)
