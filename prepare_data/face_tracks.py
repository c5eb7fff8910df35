"""A face followed through a clip: gaps are bridged when short, refused when long (spec training.md D-12, D-15)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.motion import FPS
from core.utils.blaze import box_overlap

SAME_FACE = 0.15  # least overlap of a face's boxes in neighbouring frames; a cut shows another place


@dataclass(frozen=True)
class FaceTrack:
    """Landmarks of n frames: points (n, m, k) float32 in pixels; zero where `found` (n,) is False."""

    points: np.ndarray
    found: np.ndarray

    def __len__(self) -> int:
        return len(self.found)

    def filled(self, max_gap: int) -> FaceTrack:
        """The same with landmarks in every frame: linear across gaps, the nearest at the ends.

        Raises InputError when there is no face at all or one gap is longer than `max_gap` frames.
        """
        points = fill_gaps(self.points, self.found, max_gap)
        return self if self.found.all() else FaceTrack(points, self.found)

    def boxes(self) -> np.ndarray:
        """(n, 4) x0, y0, x1, y1."""
        return np.concatenate([self.points[..., :2].min(axis=1), self.points[..., :2].max(axis=1)], axis=1)


def follow(
    frames: Iterable[np.ndarray],
    first: Callable[[np.ndarray], np.ndarray | None],
    following: Callable[[np.ndarray, np.ndarray], np.ndarray | None],
) -> FaceTrack:
    """Run finders over frames ((H, W, 3) uint8 RGB).

    Args:
        first: frame -> landmarks (m, k) or None; used until there is a face, and again after it is lost.
        following: frame and the landmarks before -> landmarks or None.
    """
    rows: list[np.ndarray | None] = []
    previous = None
    for frame in frames:
        previous = first(frame) if previous is None else following(frame, previous)
        rows.append(previous)
    shape = next((row.shape for row in rows if row is not None), (0, 3))
    points = np.stack([np.zeros(shape, np.float32) if row is None else row.astype(np.float32) for row in rows])
    return FaceTrack(points, np.array([row is not None for row in rows]))


def fill_gaps(values: np.ndarray, known: np.ndarray, max_gap: int) -> np.ndarray:
    """Values (n, ...) with rows where `known` (n,) is False interpolated over time. Raises InputError as above."""
    index = np.flatnonzero(known)
    if not len(index):
        raise InputError("no face found in any frame")
    start, length = longest_gap(known)
    if length > max_gap:
        raise InputError(f"no face for {length} frames from {start / FPS:.1f} s on (at most {max_gap} are bridged)")
    if len(index) == len(known):
        return values
    flat = values.reshape(len(values), -1)
    frames = np.arange(len(values))
    out = np.stack([np.interp(frames, index, column) for column in flat[index].T], axis=1)
    return out.reshape(values.shape).astype(values.dtype)


def longest_gap(known: np.ndarray) -> tuple[int, int]:
    """First frame and length of the longest run of False in (n,) bool; (0, 0) when there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest] - starts[longest])


def refuse_jumps(track: FaceTrack) -> None:
    """Raise InputError where the face is somewhere else from one frame to the next: a cut, or another person."""
    boxes = track.boxes()
    for frame in np.flatnonzero(track.found[1:] & track.found[:-1]) + 1:
        if box_overlap(boxes[frame], boxes[frame - 1 : frame])[0] < SAME_FACE:
            raise InputError(f"the face jumps at {frame / FPS:.1f} s (a cut?); split the video there")
