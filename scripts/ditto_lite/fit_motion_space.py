"""Fit the embedded pack's motion space to tracked clips and write motion_space.npz (spec lite.md section 3).

    PYTHONPATH=. python scripts/ditto_lite/fit_motion_space.py --clips DIR [DIR ...] --cache CACHE [--out FILE]

Canonical mesh: generalised Procrustes mean of all people, each clip counted once, made symmetric. Dense map: ridge
regression from the displacement of 21 keypoints to that of all 478 vertices, shared by x, y, z and the mirror image.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tracks import MAX_YAW, load_tracks

from core.lite.motion_space import (
    LEFT_CORNER,
    LOWER_LIP,
    MIRROR_SLOTS,
    RIGHT_CORNER,
    RIGID,
    SLOT_VERTICES,
    UPPER_LIP,
    angles_from_rotation,
    pose_from_points,
    unpose,
)

PACK = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite"
KP, FLIP = list(SLOT_VERTICES), np.array([-1, 1, 1], np.float32)
STEP = 3  # every third frame is enough
STRENGTH = 0.002  # of the dense map's ridge, in squared canonical units
ANCHORS = {  # vertex: canonical position given in spec lite.md section 3
    33: (-0.500, -0.168, -0.100),
    263: (0.500, -0.168, -0.100),
    6: (0.0, -0.147, -0.391),
    4: (0.0, 0.168, -0.624),
}
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
)
FOLDS = 5
log = logging.getLogger("fit_motion_space")


@dataclass
class Faces:
    """Well-seen, un-posed meshes (n, 478, 3) of one clip."""

    person: str
    mesh: np.ndarray

    def displacement(self) -> np.ndarray:
        """(n, 478, 3) from the clip's median face."""
        return self.mesh - np.median(self.mesh, axis=0)

    def mouth_width(self) -> float:
        """Median distance of the mouth corners."""
        return float(np.median(np.linalg.norm(self.mesh[:, 61] - self.mesh[:, 291], axis=1)))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="folders with talking clips")
    parser.add_argument("--cache", type=Path, required=True, help="folder for tracks, reused when it exists")
    parser.add_argument("--pack", type=Path, default=PACK, help="pack with the face models")
    parser.add_argument("--out", type=Path, default=PACK / "motion_space.npz")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tracks = [track for track in load_tracks(args.clips, args.pack, args.cache) if track.found.sum() > 25]
    clips = [(track.person, track.mesh[track.found][::STEP]) for track in tracks]
    canonical, mirror = canonical_mesh([mesh for _, mesh in clips])
    faces = [face for face in (unposed(person, mesh, canonical) for person, mesh in clips) if face is not None]
    dense = dense_map(faces, mirror)
    log.info("lips left out: mean %.2f %%, p95 %.2f %% of the mouth width", *left_out_error(faces, mirror))
    basis, spread = expressions(faces)
    np.savez_compressed(
        args.out,
        canonical=canonical.astype(np.float32),
        mirror=mirror.astype(np.int16),
        kp=np.array(KP, np.int16),
        dense21to478=dense.astype(np.float32),
        mouth_modes=mouth_modes(faces).astype(np.float32),
        expr_pca=basis.astype(np.float32),
        expr_std=spread.astype(np.float32),
    )


def canonical_mesh(clips: list[np.ndarray], rounds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Mean face (478, 3) of clips (n, 478, 3), upright, symmetric and of canonical size, and its mirror map (478,)."""
    rigid = list(RIGID)
    upright = [clip - clip[:, rigid].mean(axis=1, keepdims=True) for clip in clips]
    mean = np.mean(
        [(clip / np.linalg.norm(clip[:, 33] - clip[:, 263], axis=1)[:, None, None]).mean(axis=0) for clip in upright],
        axis=0,
    )
    mirror = mirror_map(mean)
    mean = standard(mean, mirror)
    for _ in range(rounds):
        per_clip = []
        for clip in clips:
            scale, rotation, t = pose_from_points(clip[:, rigid], mean[rigid])
            near = np.abs(angles_from_rotation(rotation)[1]) < MAX_YAW
            if near.any():
                per_clip.append(unpose(clip[near], scale[near], rotation[near], t[near]).mean(axis=0))
        mean = standard(np.mean(per_clip, axis=0), mirror)
    return mean, mirror


def standard(mesh: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Symmetric, |33 - 263| = 1, origin and pitch such that the anchors lie nearest to where the spec has them."""
    mesh = (mesh + mesh[mirror] * FLIP) / 2
    mesh = mesh / np.linalg.norm(mesh[33] - mesh[263])
    _, rotation, _ = pose_from_points(mesh[list(ANCHORS)], np.array(list(ANCHORS.values())))
    mesh = mesh @ rotation.T
    return mesh + np.mean(list(ANCHORS.values()), axis=0) - mesh[list(ANCHORS)].mean(axis=0)


def mirror_map(mesh: np.ndarray) -> np.ndarray:
    """(478,) vertex on the other side: the nearest one to each mirrored vertex after aligning the mirrored mesh.

    Raises ValueError when the answer is not its own inverse.
    """
    aligned = flipped = mesh * FLIP
    for _ in range(5):
        guess = ((aligned[:, None] - mesh[None]) ** 2).sum(axis=-1).argmin(axis=1)
        aligned = unpose(flipped, *pose_from_points(flipped, mesh[guess]))
    if not np.array_equal(guess[guess], np.arange(len(mesh))):
        raise ValueError(f"{np.sum(guess[guess] != np.arange(len(mesh)))} vertices have no clear mirror image")
    return guess


def unposed(person: str, mesh: np.ndarray, canonical: np.ndarray) -> Faces | None:
    """Un-pose a clip's frames that face the camera and are free of tracking accidents."""
    rigid = list(RIGID)
    scale, rotation, t = pose_from_points(mesh[:, rigid], canonical[rigid])
    near = np.abs(angles_from_rotation(rotation)[1]) < MAX_YAW
    points = unpose(mesh, scale, rotation, t)
    near &= np.abs(points - np.median(points, axis=0)).max(axis=(1, 2)) < 0.5
    return Faces(person, points[near]) if near.sum() >= 10 else None


def dense_map(faces: list[Faces], mirror: np.ndarray) -> np.ndarray:
    """(21, 478) ridge map from keypoint to vertex displacement, equal for both sides of the face."""
    xx, xy = np.zeros((21, 21)), np.zeros((21, 478))
    for face in faces:
        rows = face.displacement()
        for each in (rows, rows[:, mirror] * FLIP):
            flat = each.transpose(0, 2, 1).reshape(-1, 478).astype(np.float64)
            xx += flat[:, KP].T @ flat[:, KP]
            xy += flat[:, KP].T @ flat
    return np.linalg.solve(xx + STRENGTH * np.eye(21), xy)


def left_out_error(faces: list[Faces], mirror: np.ndarray) -> tuple[float, float]:
    """Mean and 95th percentile of the lip contour's error in % of the mouth width, people left out in turn."""
    people = sorted({face.person for face in faces})
    errors = []
    for fold in range(FOLDS):
        left_out = set(people[fold::FOLDS])
        dense = dense_map([face for face in faces if face.person not in left_out], mirror)
        for face in faces:
            if face.person in left_out:
                rows = face.displacement()
                rest = np.einsum("kv,nkc->nvc", dense[:, LIPS], rows[:, KP]) - rows[:, LIPS]
                errors.append(100 * np.linalg.norm(rest[..., :2], axis=-1).reshape(-1) / face.mouth_width())
    errors = np.concatenate(errors)
    return float(errors.mean()), float(np.percentile(errors, 95))


def symmetric_keypoints(face: Faces) -> np.ndarray:
    """(n, 21, 3) keypoints averaged with their mirror image, in mouth widths."""
    points = face.mesh[:, KP] / face.mouth_width()
    return (points + points[:, list(MIRROR_SLOTS)] * FLIP) / 2


def mouth_modes(faces: list[Faces]) -> np.ndarray:
    """(2, 21, 3) displacement in mouth widths per unit of opening and of width, by regression within clips."""
    x, y = [], []
    for face in faces:
        points = symmetric_keypoints(face)
        opening = np.linalg.norm(points[:, LOWER_LIP] - points[:, UPPER_LIP], axis=1)
        width = points[:, RIGHT_CORNER, 0] - points[:, LEFT_CORNER, 0]
        both = np.stack([opening, width], axis=1)
        x.append(both - both.mean(axis=0))
        y.append((points - points.mean(axis=0)).reshape(len(points), -1))
    return np.linalg.lstsq(np.concatenate(x), np.concatenate(y), rcond=None)[0].reshape(2, 21, 3)


def expressions(faces: list[Faces], count: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Principal components (count, 63) of the symmetrised talking expression in mouth widths, and their spread."""
    rows = [symmetric_keypoints(face).reshape(len(face.mesh), -1) for face in faces]
    rows = np.concatenate([row - np.median(row, axis=0) for row in rows])
    _, values, vectors = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return vectors[:count], values[:count] / np.sqrt(len(rows))


if __name__ == "__main__":
    main()
