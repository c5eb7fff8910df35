"""Face landmarks -> oriented square -> crop, and back (spec pipeline.md 5.1 to 5.3)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.settings.options import CropOptions

CROP_SIZE = 512  # pixels of a side of the crop that is described and rendered
# landmark count -> indices whose means are the left eye, the right eye and the mouth
_REFERENCE = {
    478: ((33, 133, 159, 145), (362, 263, 386, 374), (61, 291)),
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
    106: ((33, 35, 40, 39), (87, 89, 94, 93), (52, 61)),
    101: ((39, 42, 45, 48), (51, 54, 57, 60), (75, 81)),
    68: ((36, 39), (42, 45), (48, 54)),
    9: ((2, 3), (0, 1), (5, 6)),
    5: ((0,), (1,), (3, 4)),
}


@dataclass(frozen=True)
class Square:
    """An oriented square in frame pixels: centre (2,), side, angle in radians (clockwise in the picture)."""

    centre: np.ndarray
    side: float
    angle: float


@dataclass(frozen=True)
class Crop:
    """A cut-out face: image (size, size, 3) uint8 and the (3, 3) float32 transforms between frame and crop pixels."""

    image: np.ndarray
    M_o2c: np.ndarray
    M_c2o: np.ndarray

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Frame points (n, 2) -> crop points (n, 2)."""
        return transform_points(points, self.M_o2c)

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Crop points (n, 2) -> frame points (n, 2)."""
        return transform_points(points, self.M_c2o)


def face_parts(landmarks: np.ndarray) -> np.ndarray:
    """Left eye, right eye and mouth, (3, 2), of landmarks (n, 2 or more); n as for `reference_points`."""
    count = len(landmarks)
    if count not in _REFERENCE and count > 101:
        count = 101
    if count not in _REFERENCE:
        raise ValueError(f"{count} landmarks are of no known set (known: {sorted(_REFERENCE)})")
    return np.stack([landmarks[list(i), :2].mean(axis=0) for i in _REFERENCE[count]])


def reference_points(landmarks: np.ndarray, use_lip: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The two points that say which way a face is turned.

    Args:
        landmarks: (n, 2 or more), n one of 5, 9, 68, 101, 106, 203, 478; other counts above 101 use their first 101.
        use_lip: eye point and mouth point; otherwise the left eye, and that moved by the eye line turned a quarter.

    Returns:
        Two (2,) points. Raises ValueError for other counts.
    """
    left, right, lip = face_parts(landmarks)
    if use_lip:
        return (left + right) / 2, lip
    along = right - left
    return left, left + np.array([-along[1], along[0]], along.dtype)


def oriented_square(
    landmarks: np.ndarray,
    scale: float,
    vx_ratio: float = 0.0,
    vy_ratio: float = 0.0,
    enclosed: np.ndarray | None = None,
    use_lip: bool = True,
) -> Square:
    """The square, turned with the face, around all landmarks (spec 5.2).

    Args:
        landmarks: (n, 2) of a known set; they give the direction.
        scale: side of the result over the side of the enclosing square.
        vx_ratio, vy_ratio: shift along the face's own axes, in sides of the result.
        enclosed: (k, 2) points to enclose instead of the landmarks.
        use_lip: see `reference_points`.
    """
    upper, lower = reference_points(landmarks, use_lip)
    down = (lower - upper).astype(np.float64)
    length = np.linalg.norm(down)
    down = down / length if length > 1e-3 else np.array([0.0, 1.0])
    across = np.array([down[1], -down[0]])
    angle = float(np.arccos(np.clip(across[0], -1.0, 1.0)))
    axes = np.stack([across, down])

    points = np.asarray(landmarks if enclosed is None else enclosed, np.float64)[:, :2]
    mean = points.mean(axis=0)
    local = (points - mean) @ axes.T
    low, high = local.min(axis=0), local.max(axis=0)
    side = float((high - low).max()) * scale
    centre = mean + ((low + high) / 2 + side * np.array([vx_ratio, vy_ratio])) @ axes
    return Square(centre, side, -angle if across[1] < 0 else angle)


def crop_matrices(square: Square, size: int, rotate: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """M_o2c and M_c2o, (3, 3) float32: frame -> crop of `size` pixels, and its inverse (spec 5.3)."""
    s = size / square.side
    c, sn = (np.cos(square.angle), np.sin(square.angle)) if rotate else (1.0, 0.0)
    linear = s * np.array([[c, sn], [-sn, c]])
    M_o2c = np.eye(3, dtype=np.float32)
    M_o2c[:2, :2] = linear
    M_o2c[:2, 2] = size / 2 - linear @ square.centre
    return M_o2c, np.linalg.inv(M_o2c.astype(np.float64)).astype(np.float32)


def crop_image(
    frame: np.ndarray,
    landmarks: np.ndarray,
    *,
    size: int,
    options: CropOptions,
    enclosed: np.ndarray | None = None,
    use_lip: bool = True,
    border: int = cv2.BORDER_CONSTANT,
) -> Crop:
    """Cut the face out of an (H, W, 3) uint8 frame; bilinear, black outside unless `border` says otherwise.

    `landmarks` (n, 2) and `enclosed` are in frame pixels, see `oriented_square`.
    """
    square = oriented_square(
        landmarks, options.crop_scale, options.crop_vx_ratio, options.crop_vy_ratio, enclosed, use_lip
    )
    return cut_square(frame, square, size, options.crop_flag_do_rot, border)


def cut_square(
    frame: np.ndarray, square: Square, size: int, rotate: bool = True, border: int = cv2.BORDER_CONSTANT
) -> Crop:
    """Cut a known square out of an (H, W, 3) uint8 frame; upright in the frame unless `rotate`."""
    M_o2c, M_c2o = crop_matrices(square, size, rotate)
    image = cv2.warpAffine(frame, M_o2c[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return Crop(image, M_o2c, M_c2o)


def cut_again(frame: np.ndarray, M_c2o: np.ndarray, border: int) -> np.ndarray:
    """The (512, 512, 3) crop that a registered frame had, from the frame and its M_c2o (3, 3)."""
    M_o2c = np.linalg.inv(M_c2o.astype(np.float64))
    size = (CROP_SIZE, CROP_SIZE)
    return cv2.warpAffine(frame, M_o2c[:2], size, flags=cv2.INTER_LINEAR, borderMode=border)


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(n, 2) points through the affine part of a (2 or 3, 3) matrix."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]
