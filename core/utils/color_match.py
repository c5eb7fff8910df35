"""Colours of the rendered face brought to those of the frame around it (Reinhard et al. 2001, in Lab, at the seam)."""

from __future__ import annotations

import cv2
import numpy as np

_SIDE = 64  # pixels at which colours are compared; the correction is smooth anyway
_GAIN = (0.8, 1.25)  # bounds of the change of contrast
_SHIFT = 20.0  # bound of the change of lightness and colour, CIE Lab units
_INERTIA = 0.9  # part of the last frame's correction that is kept, so that nothing flickers
_VISIBLE = 1.5  # Lab units of difference along the seam; 2.3 are just noticeable side by side
_SEAM = 0.05  # share * (1 - share) from which a pixel belongs to the seam
_ENOUGH = 20.0  # weight, in coarse pixels, of the seam below which there is nothing to compare


class SeamColours:
    """Brings rendered faces to the colours of the frames that they go into, always or where they differ visibly."""

    def __init__(self, always: bool):
        """always: else the first face decides for all, so that nothing changes on the way."""
        self._match: ColorMatch | None = ColorMatch()
        self._decided = always

    def __call__(self, face: np.ndarray, frame: np.ndarray, M_c2o: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Correct a rendered face, (512, 512, 3) RGB in 0..255.

        Args:
            frame: (H, W, 3) uint8, where it goes. M_c2o: (3, 3), crop pixels -> its pixels.
            mask: (512, 512) float32 share of the face.
        """
        if self._match is None:
            return face
        scale = face.shape[0] / (2 * _SIDE)
        there = M_c2o.astype(np.float64) @ np.diag([scale, scale, 1.0])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(frame, there[:2], (2 * _SIDE,) * 2, flags=how, borderMode=cv2.BORDER_REPLICATE)
        if not self._decided:
            self._decided = True
            if difference(face, crop, mask) < _VISIBLE:
                self._match = None
                return face
        return self._match(face, crop, mask)


def difference(face: np.ndarray, frame_crop: np.ndarray, mask: np.ndarray) -> float:
    """Usual distance in Lab (CIE 1976) across the seam; 0 where there is none. See `ColorMatch`.

    The median: where lips or jaw have moved, colours differ although none is wrong.
    """
    share = cv2.resize(mask, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    seam = share * (1 - share) > _SEAM
    if seam.sum() < _ENOUGH:
        return 0.0
    return float(np.linalg.norm(np.median(_lab(face)[seam] - _lab(frame_crop)[seam], axis=0)))


class ColorMatch:
    """Matches mean and deviation of the seam's pixels, frame by frame and in order."""

    def __init__(self) -> None:
        self._statistics: np.ndarray | None = None  # (gain, shift) x Lab, smoothed over time

    def __call__(self, face: np.ndarray, frame_crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Correct a rendered face.

        Args:
            face: (h, w, 3) RGB in 0..255, uint8 or float32.
            frame_crop: the same part of the frame, of any size, RGB uint8.
            mask: (h, w) float32 share of the face; its slope is the seam.

        Returns:
            (h, w, 3) float32 RGB in 0..255; the face itself where there is no seam to compare.
        """
        ours, theirs = _lab(face), _lab(frame_crop)
        share = cv2.resize(mask, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        weight = (4 * share * (1 - share))[..., None]
        result = np.asarray(face, np.float32)
        if weight.sum() < _ENOUGH:
            return result
        self._update(ours, theirs, weight)
        gain, shift = self._statistics
        mean = (weight * ours).sum(axis=(0, 1)) / weight.sum()
        change = cv2.cvtColor(((ours - mean) * gain + mean + shift).astype(np.float32), cv2.COLOR_LAB2RGB)
        change -= cv2.cvtColor(ours, cv2.COLOR_LAB2RGB)
        full = cv2.resize(255 * change, (face.shape[1], face.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.clip(result + full, 0, 255)

    def _update(self, ours: np.ndarray, theirs: np.ndarray, weight: np.ndarray) -> None:
        (mean, deviation), (wanted, wanted_deviation) = (_moments(lab, weight) for lab in (ours, theirs))
        gain = np.clip(wanted_deviation / np.maximum(deviation, 1.0), *_GAIN)
        current = np.stack([gain, np.clip(wanted - mean, -_SHIFT, _SHIFT)])
        old = self._statistics
        self._statistics = current if old is None else _INERTIA * old + (1 - _INERTIA) * current


def _lab(picture: np.ndarray) -> np.ndarray:
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB)


def _moments(lab: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(3,) weighted mean and deviation."""
    mean = (weight * lab).sum(axis=(0, 1)) / weight.sum()
    return mean, np.sqrt((weight * (lab - mean) ** 2).sum(axis=(0, 1)) / weight.sum())
