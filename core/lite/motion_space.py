"""The embedded pack's explicit motion space: 21 keypoints of the 478-point face mesh (spec lite.md section 3).

Points are rows, p' = p R with the R of spec pipeline.md 6.3; x right, y down, z away from the viewer. "Canonical" means
un-posed and scaled so that the outer eye corners (33, 263) are about 1 apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import PackError
from core.motion import EXP, MOTION_DIM, NUM_KEYPOINTS, PITCH, ROLL, SCALE, TRANSLATION, YAW, Motion, degrees_to_bins

NUM_VERTICES = 478
CROP_SIZE = 512

# Mesh vertex of each keypoint slot.
SLOT_VERTICES = (4, 105, 334, 39, 269, 152, 13, 33, 263, 181, 405, 159, 14, 145, 0, 386, 374, 17, 6, 61, 291)
# Slot of the mirror-image keypoint.
MIRROR_SLOTS = (0, 2, 1, 4, 3, 5, 6, 8, 7, 10, 9, 15, 12, 16, 14, 11, 13, 17, 18, 20, 19)
LIP_SLOTS = (3, 4, 5, 6, 9, 10, 12, 14, 17, 19, 20)
EYE_SLOTS = (11, 13, 15, 16)
RIGID_SLOTS = (0, 7, 8, 18)
UPPER_LIP, LOWER_LIP, LEFT_CORNER, RIGHT_CORNER, CHIN = 6, 12, 19, 20, 5
LID_PAIRS = ((11, 13), (15, 16))  # upper and lower lid of each eye

# Inner lip vertices that meet when the mouth is shut, upper and lower, and the slots that can bring them together.
LIP_CONTACTS = (
    *((13, 14), (82, 87), (81, 178), (80, 88), (191, 95)),
    *((312, 317), (311, 402), (310, 318), (415, 324)),
)
SEAL_SLOTS = (3, 4, 6, 9, 10, 12)
SEAL_STIFFNESS = 0.03

# Vertices that expression hardly moves: the pose is fitted on them.
RIGID = (
    *(10, 151, 9, 8, 168, 6, 197, 195, 5, 33, 133, 362, 263, 127, 356, 162, 389, 21, 251, 54),
    *(284, 103, 332, 67, 297, 109, 338, 116, 345, 34, 264, 143, 372, 122, 351, 188, 412, 114, 343),
)

# Lid closure per frame of a blink at 25 fps: two frames down, two shut, three up. Row 0 is the open eye.
BLINK_PROFILE = (0.0, 0.5, 1.0, 1.0, 0.7, 0.35, 0.1)
LOWER_LID_SHARE = 0.12  # part of the lid gap that the lower lid rises


class SourceFace(NamedTuple):
    """A source face in the motion space; kp + exp is the face as it is in the picture.

    Attributes:
        motion: n = 1; pose as absolute degrees (bins), t in normalised crop units, exp and kp as below.
        kp: (21, 3) float32 canonical keypoints with the lips closed, lids as in the source.
        exp: (21, 3) float32, what opens the mouth as in the picture; zero outside the lip slots.
        opening: lip opening in the picture over mouth width.
    """

    motion: Motion
    kp: np.ndarray
    exp: np.ndarray
    opening: float


@dataclass(frozen=True)
class FaceSpace:
    """The fitted arrays of the motion space.

    Attributes:
        keypoints: (21,) mesh vertex of each slot.
        canonical: (478, 3) float32 mean face.
        dense: (21, 478) float32; displacement of all vertices = dense.T @ displacement of the keypoints.
        mirror: (478,) vertex on the other side of the face.
        modes: (2, 21, 3) float32, displacement per unit of mouth opening and of mouth width, in mouth widths.
    """

    keypoints: np.ndarray
    canonical: np.ndarray
    dense: np.ndarray
    mirror: np.ndarray
    modes: np.ndarray

    @classmethod
    def load(cls, path: str | PathLike[str]) -> FaceSpace:
        """Read `motion_space.npz`. Raises PackError when the file is missing, damaged or holds other arrays."""
        try:
            with np.load(Path(path), allow_pickle=False) as data:
                return cls._from_arrays({key: data[key] for key in data.files})
        except FileNotFoundError as error:
            raise PackError(f"model file {path} is missing; restore the pack (git checkout)") from error
        except Exception as error:  # zip, header and key errors come in many classes
            raise PackError(f"model file {path} is damaged ({error}); restore the pack (git checkout)") from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, np.ndarray]) -> FaceSpace:
        order = [list(arrays["kp"]).index(vertex) for vertex in SLOT_VERTICES]
        space = cls(
            keypoints=np.array(SLOT_VERTICES),
            canonical=arrays["canonical"].astype(np.float32),
            dense=arrays["dense21to478"].astype(np.float32)[order],
            mirror=arrays["mirror"].astype(np.int64),
            modes=arrays["mouth_modes"].astype(np.float32)[:, order],
        )
        if space.canonical.shape != (NUM_VERTICES, 3) or space.dense.shape != (NUM_KEYPOINTS, NUM_VERTICES):
            raise ValueError(f"canonical {space.canonical.shape}, dense {space.dense.shape}")
        return space

    @property
    def canonical_keypoints(self) -> np.ndarray:
        """(21, 3) float32 keypoints of the mean face (its mouth is a little open)."""
        return self.canonical[self.keypoints]

    def pose(self, mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pose of meshes (..., 478, 3) against the mean face: scale (...), R (..., 3, 3), t (..., 3)."""
        rigid = list(RIGID)
        return pose_from_points(mesh[..., rigid, :], self.canonical[rigid])

    def unpose(self, mesh: np.ndarray) -> np.ndarray:
        """Meshes (..., 478, 3) in any unit -> the same faces upright, centred and of canonical size, float32."""
        return unpose(mesh, *self.pose(mesh))

    def source_keypoints(self, mesh: np.ndarray) -> SourceFace:
        """Split a source mesh, (478, 3) in crop pixels, into pose, closed-mouth keypoints and mouth opening."""
        points = normalise_mesh(mesh)
        scale, rotation, t = self.pose(points)
        upright = unpose(points, scale, rotation, t)
        exp, opening = self._mouth_opening(upright)
        kp = upright[self.keypoints] - exp
        data = np.zeros((1, MOTION_DIM), np.float32)
        data[:, SCALE] = scale - 1
        for part, degrees in zip((PITCH, YAW, ROLL), angles_from_rotation(rotation)):
            data[:, part] = degrees_to_bins(degrees)
        data[:, TRANSLATION] = t
        data[:, EXP] = exp.reshape(-1)
        return SourceFace(Motion(data, kp.reshape(1, -1)), kp, exp, opening)

    def _mouth_opening(self, upright: np.ndarray) -> tuple[np.ndarray, float]:
        """What to take away from an upright mesh so that the lips meet all along, and the opening over mouth width."""
        neutral = upright[self.keypoints]
        gap = max(float(neutral[LOWER_LIP, 1] - neutral[UPPER_LIP, 1]), 0.0)
        exp = np.zeros((NUM_KEYPOINTS, 3))
        exp[list(LIP_SLOTS)] = self.modes[0, list(LIP_SLOTS)]
        exp *= gap / (exp[LOWER_LIP, 1] - exp[UPPER_LIP, 1])
        if gap:
            exp[list(SEAL_SLOTS), 1] += self._seal(upright - self.dense.T @ exp)
        return exp.astype(np.float32), gap / mouth_width(neutral)

    def _seal(self, closed: np.ndarray) -> np.ndarray:
        """Vertical offsets of SEAL_SLOTS that span the gaps left in a mesh whose lips should meet (a smile, say)."""
        upper, lower = np.array(LIP_CONTACTS).T
        dense = self.dense[list(SEAL_SLOTS)]
        effect = (dense[:, lower] - dense[:, upper]).T
        weight = np.where(upper == SLOT_VERTICES[UPPER_LIP], 30.0, 1.0)[:, None]  # the middle has been closed already
        gaps = (closed[lower, 1] - closed[upper, 1])[:, None]
        normal = effect.T @ (weight * effect) + SEAL_STIFFNESS * np.eye(len(SEAL_SLOTS))
        return np.linalg.solve(normal, effect.T @ (weight * gaps))[:, 0]


def normalise_mesh(mesh: np.ndarray) -> np.ndarray:
    """Mesh in crop pixels (..., 3) -> normalised: x and y in -1..1 over the 512 crop, z in the same unit, float32."""
    out = np.asarray(mesh, np.float32) / np.float32(CROP_SIZE / 2)
    out[..., :2] -= 1
    return out


def mouth_width(keypoints: np.ndarray) -> float:
    """Distance between the mouth corners of keypoints (21, 3)."""
    return float(np.linalg.norm(keypoints[RIGHT_CORNER] - keypoints[LEFT_CORNER]))


def pose_from_points(points: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity Procrustes: points ~ s * reference @ R + t in the least-squares sense, det(R) = +1.

    Args:
        points: (..., n, 3), n >= 3 and not on a line.
        reference: (n, 3), or the shape of `points`.

    Returns:
        s (...), R (..., 3, 3), t (..., 3), float64.
    """
    x, c = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    x_mean, c_mean = x.mean(axis=-2, keepdims=True), c.mean(axis=-2, keepdims=True)
    x0, c0 = x - x_mean, c - c_mean
    u, singular, vt = np.linalg.svd(np.swapaxes(c0, -1, -2) @ x0)
    sign = np.ones(singular.shape)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (singular * sign).sum(axis=-1) / (c0**2).sum(axis=(-1, -2))
    t = x_mean - scale[..., None, None] * (c_mean @ rotation)
    return scale, rotation, t[..., 0, :]


def unpose(points: np.ndarray, scale: np.ndarray, rotation: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Undo a pose: (points - t) / s @ R^T for points (..., n, 3), float32."""
    centred = np.asarray(points, np.float64) - np.asarray(t)[..., None, :]
    centred = centred / np.asarray(scale)[..., None, None]
    return (centred @ np.swapaxes(rotation, -1, -2)).astype(np.float32)


def angles_from_rotation(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(..., 3, 3) row-vector rotations -> pitch, yaw, roll in degrees, the inverse of `core.motion.rotation_matrix`."""
    r = np.asarray(rotation)
    pitch = np.arctan2(r[..., 1, 2], r[..., 2, 2])
    yaw = np.arcsin(np.clip(-r[..., 0, 2], -1, 1))
    roll = np.arctan2(r[..., 0, 1], r[..., 0, 0])
    return np.degrees(pitch), np.degrees(yaw), np.degrees(roll)


def blink_array(kp: np.ndarray) -> np.ndarray:
    """Blink offsets that shut this face's lids.

    Args:
        kp: (21, 3) canonical keypoints of the source, lids as in the picture.

    Returns:
        (7, 63) float32, one row per frame of a blink at 25 fps; row 0 is zero, rows 2 and 3 bring the lids together.
    """
    shut = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    for upper, lower in LID_PAIRS:
        gap = kp[lower] - kp[upper]
        shut[upper] = (1 - LOWER_LID_SHARE) * gap
        shut[lower] = -LOWER_LID_SHARE * gap
    return np.array(BLINK_PROFILE, np.float32)[:, None] * shut.reshape(1, -1)
