"""What registration found out about a source, as plain arrays that can be kept on disk (spec pipeline.md section 7)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from core.motion import KP_DIM, MOTION_DIM, Motion


@dataclass(frozen=True)
class AvatarRecord:
    """m analysed source frames and the n output frames that show them; before smoothing.

    Attributes:
        shown: (n,) int32 which analysed frame an output frame shows, ascending.
        pts: (m,) int64 timestamps in the source's own units, increasing; zero for a picture.
        found: (m,) bool, whether the frame showed the face; the arrays below hold nothing where it did not.
        motion: (m, 328) float32 motion vector and canonical keypoints.
        M_c2o: (m, 3, 3) float32. eye_open: (m, 2) float32. eye_ball: (m, 6) float32.
        mesh: (m, 478, 3) float32 landmarks in crop pixels.
        sharpness: (m,) float32, see `core.utils.picture.sharpness`.
        complete: () bool, whether the source holds no more frames.
    """

    shown: np.ndarray
    pts: np.ndarray
    found: np.ndarray
    motion: np.ndarray
    M_c2o: np.ndarray
    eye_open: np.ndarray
    eye_ball: np.ndarray
    mesh: np.ndarray
    sharpness: np.ndarray
    complete: np.ndarray

    def __post_init__(self) -> None:
        m = len(self.pts)
        shapes = {
            "found": (m,), "motion": (m, MOTION_DIM + KP_DIM), "M_c2o": (m, 3, 3),
            "eye_open": (m, 2), "eye_ball": (m, 6), "mesh": (m, 478, 3), "sharpness": (m,),
            "complete": (),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of an avatar record is {getattr(self, name).shape}, not {shape}")
        if self.shown.ndim != 1 or not len(self.shown) or self.shown.min() < 0 or self.shown.max() >= m:
            raise ValueError("an avatar record shows frames that it does not hold")

    def enough_for(self, frames: int) -> bool:
        """Whether it covers the first `frames` output frames, or all (0 or less), as far as the source does."""
        return bool(self.complete) or 0 < frames <= len(self.shown)

    def first(self, frames: int) -> AvatarRecord:
        """The same for the first `frames` output frames; all of them when 0 or less."""
        return replace(self, shown=self.shown[:frames]) if 0 < frames < len(self.shown) else self

    def spread(self) -> Spread:
        """One row per output frame. What a frame lacks is interpolated in time between its neighbours."""
        there = self.found[self.shown]
        known, gaps = np.flatnonzero(there), np.flatnonzero(~there)
        right = np.searchsorted(known, gaps)
        before, after = known[(right - 1).clip(0)], known[right.clip(0, len(known) - 1)]
        weight = np.clip((gaps - before) / np.maximum(after - before, 1), 0, 1).astype(np.float32)

        def rows(values: np.ndarray) -> np.ndarray:
            out = values[self.shown]
            low, high = out[before], out[after]
            out[gaps] = low + weight.reshape(-1, *[1] * (values.ndim - 1)) * (high - low)
            return out

        return Spread(**{field.name: rows(getattr(self, field.name)) for field in fields(Spread)})


@dataclass(frozen=True)
class Spread:
    """The arrays of AvatarRecord with one row per output frame, without gaps."""

    motion: np.ndarray
    M_c2o: np.ndarray
    eye_open: np.ndarray
    eye_ball: np.ndarray
    mesh: np.ndarray

    def as_motion(self) -> Motion:
        """The motion with its canonical keypoints."""
        return Motion(self.motion[:, :MOTION_DIM].copy(), self.motion[:, MOTION_DIM:].copy())
