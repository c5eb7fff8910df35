"""Measures on pixels: sharpness, drift of the face's looks, and the seam of the pasted face."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 192  # pixels of the aligned face
_EYES, _MOUTH = (33, 263), (13, 14)
_EYE_Y, _EYE_GAP = 0.38, 0.42  # where the eye corners come to lie, in sides
_LOW = 16  # side at which only complexion and light are left
SEAM_POINTS = 128  # on each side of the crop


def aligned_face(frame: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """The face upright in a (SIDE, SIDE, 3) picture, the outer eye corners always in the same place."""
    right, left = mesh[_EYES[0], :2], mesh[_EYES[1], :2]
    across = left - right
    factor = _EYE_GAP * SIDE / max(float(np.linalg.norm(across)), 1e-6)
    c, s = factor * across / max(float(np.linalg.norm(across)), 1e-6)
    turn = np.array([[c, s], [-s, c]])
    middle = (right + left) / 2
    offset = np.array([SIDE / 2, _EYE_Y * SIDE]) - turn @ middle
    return cv2.warpAffine(frame, np.column_stack([turn, offset]), (SIDE, SIDE), flags=cv2.INTER_AREA)


def detail(face: np.ndarray) -> float:
    """Strength of fine structure in an aligned face, outside the mouth, in grey levels."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    upper = fine[int(0.2 * SIDE) : int(0.62 * SIDE), int(0.2 * SIDE) : int(0.8 * SIDE)]
    return float(np.sqrt(np.mean(upper**2)))


def complexion(face: np.ndarray) -> np.ndarray:
    """Coarse Lab picture, (_LOW, _LOW, 3) float32, of the part of an aligned face that speech leaves alone."""
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    upper = lab[int(0.15 * SIDE) : int(0.62 * SIDE), int(0.2 * SIDE) : int(0.8 * SIDE)]
    return cv2.resize(upper, (_LOW, _LOW), interpolation=cv2.INTER_AREA)


class Looks:
    """Observer of `track_video`: sharpness and complexion of every frame against a reference face."""

    def __init__(self, reference: np.ndarray, mesh: np.ndarray):
        face = aligned_face(reference, mesh)
        self._detail, self._complexion = detail(face), complexion(face)
        self._sharpness: list[float] = []
        self._drift: list[float] = []

    def __call__(self, frame: np.ndarray, mesh: np.ndarray) -> None:
        face = aligned_face(frame, mesh)
        self._sharpness.append(detail(face) / max(self._detail, 1e-6))
        self._drift.append(float(np.linalg.norm(complexion(face) - self._complexion, axis=2).mean()))

    def measures(self) -> dict[str, float]:
        """Sharpness over the reference's, and colour difference (CIE 1976) to it, medians over the frames."""
        return {"sharpness": float(np.median(self._sharpness)), "colour_drift": float(np.median(self._drift))}


class Seam:
    """Observer: how much steeper the picture is across the crop's border than the source is there."""

    def __init__(self, source: np.ndarray, M_c2o: np.ndarray, side: int = 512):
        """source: (H, W, 3) uint8; M_c2o: (3, 3) crop pixels -> its pixels. Frames of another size are passed over."""
        self._shape = source.shape
        self._outside, self._inside = _border_points(M_c2o, side, source.shape)
        self._own = self._steps(source)
        self._steepest: list[float] = []

    def __call__(self, frame: np.ndarray, mesh: np.ndarray) -> None:
        if len(self._outside) and frame.shape == self._shape:
            self._steepest.append(float(np.mean(np.abs(self._steps(frame)) - np.abs(self._own))))

    def measures(self) -> dict[str, float]:
        """Mean step across the border above the source's own, of 255."""
        return {"seam": float(np.mean(self._steepest))} if self._steepest else {}

    def _steps(self, frame: np.ndarray) -> np.ndarray:
        picture = frame.astype(np.float32)
        return _sample(picture, self._inside) - _sample(picture, self._outside)


def _border_points(M_c2o: np.ndarray, side: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Points (k, 2) one pixel outside and one inside of the crop's border, where both lie in the frame."""
    along = np.linspace(0, side - 1, SEAM_POINTS)
    low, high = np.zeros(SEAM_POINTS), np.full(SEAM_POINTS, side - 1.0)
    border = np.concatenate([np.stack(pair, 1) for pair in ((along, low), (along, high), (low, along), (high, along))])
    inward = np.repeat([[0, 1], [0, -1], [1, 0], [-1, 0]], SEAM_POINTS, axis=0)
    turn = M_c2o[:2, :2] / np.linalg.norm(M_c2o[:2, 0])
    points = border @ M_c2o[:2, :2].T + M_c2o[:2, 2]
    outside, inside = points - inward @ turn.T, points + inward @ turn.T
    limit = np.array([shape[1] - 1, shape[0] - 1])
    seen = np.all([(p >= 0) & (p <= limit) for p in (outside, inside)], axis=(0, 2))
    return outside[seen], inside[seen]


def _sample(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    if not len(points):
        return np.zeros((0, 3), np.float32)
    x, y = points.astype(np.float32).T
    return cv2.remap(picture, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
