"""Which frame of a source video shows the face at rest: mouth closed, eyes open, frontal, sharp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.avatars.record import AvatarRecord
from core.errors import InputError
from core.motion import PITCH, YAW, Motion, bins_to_degrees
from core.settings.options import SourceOptions

_MOUTH_WIDTH = (61, 291)
_LIPS = (13, 14)
_INNER_WIDTH = (78, 308)
_EYE_GAP = (33, 263)
# What costs as much as any of the others.
_OPENING = 0.1  # of the width of the mouth
_WIDTH = 0.1  # change of the width of the mouth over that of the eyes: a smile, or rounded lips
_LIDS = 0.3  # of the usual opening of the eyes
_TURN = 15.0  # degrees
_BLUR = 1.0  # halvings of the sharpness


def most_neutral(record: AvatarRecord) -> int:
    """The output frame, counted as `record.shown` does, whose face is closest to rest; the first of equals."""
    cost = np.where(record.found, _cost(record), np.inf)
    return int(np.argmin(np.round(cost[record.shown], 3)))


def _cost(record: AvatarRecord) -> np.ndarray:
    """(m,) how far each analysed frame is from rest."""
    there = record.found
    mesh = np.where(there[:, None, None], record.mesh, record.mesh[np.argmax(there)])
    gap = _distance(mesh, _EYE_GAP)
    opening = _distance(mesh, _LIPS) / np.maximum(_distance(mesh, _INNER_WIDTH), 1e-3)
    width = _distance(mesh, _MOUTH_WIDTH) / np.maximum(gap, 1e-3)
    lids = record.eye_open.min(axis=1)
    usual = max(float(np.median(lids[there])), 1e-3)
    turn = np.hypot(bins_to_degrees(record.motion[:, YAW]), bins_to_degrees(record.motion[:, PITCH]))
    sharp = np.maximum(record.sharpness, 1e-3)
    blur = np.log2(max(float(np.median(sharp[there])), 1e-3) / sharp)
    return (
        opening / _OPENING
        + np.abs(width - np.median(width[there])) / _WIDTH
        + np.maximum(usual - lids, 0) / (usual * _LIDS)
        + turn / _TURN
        + np.maximum(blur, 0) / _BLUR
    )


def _distance(mesh: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """(m,) between two vertices, in the picture."""
    return np.linalg.norm(mesh[:, pair[0], :2] - mesh[:, pair[1], :2], axis=1)


@dataclass(frozen=True)
class NeutralState:
    """What of a source stands for its face at rest; see the fields of the same names in `Avatar`."""

    frame: int
    sc: np.ndarray
    start: np.ndarray | None = None
    lips: np.ndarray | None = None

    @classmethod
    def choose(cls, record: AvatarRecord, motion: Motion, source: SourceOptions, is_image: bool) -> NeutralState:
        """From a registration and its motion, not smoothed yet. Raises InputError for a frame that is not there."""
        n, first = len(motion), source.motion_frames
        if source.reference_frame >= n:
            raise InputError(f"reference_frame is {source.reference_frame}; the source has the frames 0 .. {n - 1}")
        if source.motion_legacy and first:
            # All that the fork took from its template was its first frame, smoothed (spec pipeline.md 17.3).
            start = motion[:first].smoothed(source.smo_k_s).data[0]
            return cls(0, motion.kp[0].copy(), start=start)
        frame = source.reference_frame
        if frame < 0:
            frame = 0 if is_image else most_neutral(record)
        lips = motion.exp[:first].mean(axis=0) if first else None
        if first and source.reference_frame >= 0:
            lips = motion.exp[frame].copy()
        return cls(frame, motion.kp[frame].copy(), lips=lips)
