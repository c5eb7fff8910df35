"""Head pose of driven against source keypoints, within what a flat picture can show (spec lite.md 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.lite.motion_space import CROP_SIZE, RIGID_SLOTS, pose_from_points

# Relative pitch, yaw and roll in degrees that the warp shows; further turns shear the far cheek.
ANGLE_LIMITS = (8.0, 10.0, 10.0)
SCALE_LIMIT = 0.2  # of log scale
SHIFT_LIMIT = 64.0  # pixels, per axis
RESIDUAL_LIMIT = 110.0  # pixels, per keypoint


@dataclass(frozen=True)
class HeadPose:
    """A similarity p -> scale * (p - source_centre) @ rotation + driven_centre, in crop pixels."""

    scale: float
    rotation: np.ndarray
    source_centre: np.ndarray
    driven_centre: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Move points (..., 3)."""
        return self.scale * (points - self.source_centre) @ self.rotation + self.driven_centre

    def then(self, after: HeadPose) -> HeadPose:
        """This pose followed by another."""
        return HeadPose(
            self.scale * after.scale, self.rotation @ after.rotation, self.source_centre, after(self.driven_centre)
        )

    def plane_affine(self, z: float) -> np.ndarray:
        """(2, 3) affine of the picture-parallel source plane at depth z."""
        linear = self.scale * self.rotation
        offset = (np.array([0, 0, z]) - self.source_centre) @ linear + self.driven_centre
        return np.column_stack([linear[:2, :2].T, offset[:2]])


def to_pixels(keypoints: np.ndarray) -> np.ndarray:
    """Normalised keypoints (n, 3) -> crop pixels, z in the same unit."""
    half = CROP_SIZE / 2
    return np.asarray(keypoints, np.float64) * half + np.array([half, half, 0])


def soft_limit(x: np.ndarray, limit: np.ndarray | float, knee: float = 0.6) -> np.ndarray:
    """x up to knee * limit, then bending smoothly towards +-limit."""
    start = knee * np.asarray(limit)
    room = limit - start
    size = np.abs(x)
    bent = start + room * np.tanh((size - start) / room)
    return np.sign(x) * np.where(size > start, bent, size)


def split_motion(x_s: np.ndarray, x_d: np.ndarray) -> tuple[HeadPose, np.ndarray]:
    """Split driven keypoints into a head pose and an expression.

    Args:
        x_s, x_d: (21, 3) normalised source and driven keypoints.

    Returns:
        The pose within the limits above, and the (21, 3) residual in pixels, turned along with the limited pose.
    """
    source, driven = to_pixels(x_s), to_pixels(x_d)
    rigid = list(RIGID_SLOTS)
    scale, rotation, t = pose_from_points(driven[rigid], source[rigid])
    residual = driven - (scale * source @ rotation + t)
    centre = source[rigid].mean(axis=0)
    shift = driven[rigid].mean(axis=0) - centre
    turn = soft_limit(cv2.Rodrigues(np.ascontiguousarray(rotation.T))[0][:, 0], np.radians(ANGLE_LIMITS))
    shown = cv2.Rodrigues(turn)[0].T
    shown_scale = float(np.exp(soft_limit(np.log(max(float(scale), 1e-3)), SCALE_LIMIT)))
    pose = HeadPose(shown_scale, shown, centre, centre + soft_limit(shift, SHIFT_LIMIT))
    residual = residual @ rotation.T @ shown * (shown_scale / max(float(scale), 1e-3))
    length = np.linalg.norm(residual, axis=1, keepdims=True)
    return pose, residual * soft_limit(length, RESIDUAL_LIMIT) / np.maximum(length, 1e-9)
