"""Motion of the embedded pack, read off the meshes of a clip (spec lite.md section 3).

Registration splits one picture into pose, closed-mouth keypoints and mouth opening. A clip has more to tell: its
keypoints are those of its calm face, split in the same way, and whatever the face does besides is expression.
"""

from __future__ import annotations

import numpy as np

from core.errors import InputError
from core.lite.motion_space import (
    CROP_SIZE,
    LID_PAIRS,
    LOWER_LIP,
    MIRROR_SLOTS,
    RIGID_SLOTS,
    UPPER_LIP,
    FaceSpace,
    angles_from_rotation,
    normalise_mesh,
    unpose,
)
from core.motion import EXP, MOTION_DIM, PITCH, ROLL, SCALE, TRANSLATION, YAW, degrees_to_bins
from prepare_data.face_tracks import FaceTrack, fill_gaps

CALM = 0.1  # share of the frames, those with the mouth most closed, that the calm face is the median of
LEAST_CALM = 5
MAX_EXP = 0.4  # canonical units; larger is a tracking accident
_MIRRORED = np.array([-1, 1, 1], np.float32)


def clip_motion(track: FaceTrack, space: FaceSpace, max_gap: int) -> np.ndarray:
    """Meshes of a clip, (n, 478, 3) in pixels of its 512 crop, -> motion and keypoints (n, 328) float32.

    Pose, scale and translation are per frame; kp is one and the same for all frames; exp is zero where the calm face is
    shown. Expressions are symmetric: what differs between the sides of a talking face is mostly the error of a turned
    head's mesh. Raises InputError when too many frames show nothing believable.
    """
    points = normalise_mesh(track.points)
    scale, rotation, t = space.pose(points)
    upright = unpose(points, scale, rotation, t)
    calm = calm_face(upright, space, track.found)
    kp = space.source_keypoints(_to_pixels(calm)).kp
    exp = symmetric(upright[:, space.keypoints] - kp)
    exp[:, list(RIGID_SLOTS)] = 0
    sane = np.abs(exp).max(axis=(1, 2)) < MAX_EXP
    try:
        exp = fill_gaps(exp, sane, max_gap)
    except InputError as error:
        raise InputError(f"the face cannot be read: {error}") from None
    rows = np.zeros((len(points), MOTION_DIM), np.float32)
    rows[:, SCALE] = scale[:, None] - 1
    for part, degrees in zip((PITCH, YAW, ROLL), angles_from_rotation(rotation)):
        rows[:, part] = degrees_to_bins(degrees)
    rows[:, TRANSLATION] = t
    rows[:, EXP] = exp.reshape(len(exp), -1)
    return np.concatenate([rows, np.broadcast_to(kp.reshape(1, -1), (len(rows), kp.size))], axis=1, dtype=np.float32)


def calm_face(upright: np.ndarray, space: FaceSpace, found: np.ndarray) -> np.ndarray:
    """(478, 3) median of the upright meshes (n, 478, 3) whose eyes are open and whose mouth is nearly closed."""
    keypoints = upright[:, space.keypoints]
    lids = sum(keypoints[:, lower, 1] - keypoints[:, upper, 1] for upper, lower in LID_PAIRS)
    awake = np.flatnonzero(found & (lids >= np.median(lids[found])))
    gap = (keypoints[:, LOWER_LIP, 1] - keypoints[:, UPPER_LIP, 1])[awake]
    count = max(LEAST_CALM, round(CALM * len(awake)))
    return np.median(upright[awake[np.argsort(gap)[:count]]], axis=0)


def symmetric(exp: np.ndarray) -> np.ndarray:
    """Mean of expressions (n, 21, 3) and their mirror images."""
    return (exp + exp[:, list(MIRROR_SLOTS)] * _MIRRORED) / 2


def _to_pixels(normalised: np.ndarray) -> np.ndarray:
    """The inverse of `normalise_mesh`."""
    out = normalised.copy()
    out[..., :2] += 1
    return out * np.float32(CROP_SIZE / 2)
