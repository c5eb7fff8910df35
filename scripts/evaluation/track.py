"""A video -> face meshes, frame by frame (spec lite.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.lite.face_tracker import FaceTracker
from core.lite.motion_space import LOWER_LIP, UPPER_LIP, FaceSpace, angles_from_rotation, mouth_width
from core.media import VideoReader
from core.utils.eyes import eye_state

LEAST_SEEN = 0.5  # part of the frames that must show a face
Observer = Callable[[np.ndarray, np.ndarray], None]  # frame (H, W, 3) uint8 RGB and its mesh (478, 3) in pixels


@dataclass(frozen=True)
class Track:
    """The face of one video at 25 fps. Rows of frames without a face repeat the nearest one before.

    Attributes:
        mesh: (n, 478, 3) float32, frame pixels.
        found: (n,) bool.
        upright: (n, 478, 3) float32, the mesh without pose and scale; the outer eye corners are about 1 apart.
        angles: (n, 3) pitch, yaw, roll in degrees.
        scale: (n,) pixels per canonical unit.
    """

    mesh: np.ndarray
    found: np.ndarray
    upright: np.ndarray
    angles: np.ndarray
    scale: np.ndarray
    keypoints: np.ndarray

    def __len__(self) -> int:
        return len(self.mesh)

    @property
    def opening(self) -> np.ndarray:
        """(n,) gap between the inner lips over the clip's median mouth width; 0 when they touch."""
        lips = self.upright[:, self.keypoints]
        return (lips[:, LOWER_LIP, 1] - lips[:, UPPER_LIP, 1]) / self._mouth_widths.mean()

    @property
    def width(self) -> np.ndarray:
        """(n,) mouth width over its mean."""
        widths = self._mouth_widths
        return widths / widths.mean()

    @property
    def eye_open(self) -> np.ndarray:
        """(n,) lid opening over eye width, mean of both eyes."""
        return np.array([eye_state(mesh)[0].mean() for mesh in self.mesh])

    @property
    def _mouth_widths(self) -> np.ndarray:
        return np.array([mouth_width(points) for points in self.upright[:, self.keypoints]])


def track_video(
    path: str | Path, tracker: FaceTracker, space: FaceSpace, observers: tuple[Observer, ...] = ()
) -> Track:
    """Follow the largest face of a video; `observers` see each frame in which it was found.

    Raises InputError when the file is no video or fewer than half of its frames show a face.
    """
    meshes: list[np.ndarray] = []
    found: list[bool] = []
    previous = None
    for frame in VideoReader(path):
        face = _first(tracker, frame) if previous is None else tracker.track(frame, previous)
        found.append(face is not None)
        if face is not None:
            previous = face.mesh
            for observe in observers:
                observe(frame, face.mesh)
        meshes.append(previous)
    if np.mean(found) < LEAST_SEEN:
        raise InputError(f"{path}: a face was found in {sum(found)} of {len(found)} frames; too few to measure")
    first = next(mesh for mesh in meshes if mesh is not None)
    mesh = np.stack([first if m is None else m for m in meshes])
    scale, rotation, _ = space.pose(mesh)
    angles = np.stack(angles_from_rotation(rotation), axis=1)
    return Track(mesh, np.array(found), space.unpose(mesh), angles, scale, space.keypoints)


def _first(tracker: FaceTracker, frame: np.ndarray):
    faces, _ = tracker.static(frame)
    return faces[0] if faces else None
