"""Windows of the clips as batches: index map, and the columns of a sample (spec training.md 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError
from MotionDiT.features import Clip

LEAST_VARIANCE = 1e-8
CONSTANT = ("emo", "sc", "lmk")  # the same in all rows of a window


@dataclass(frozen=True)
class Batch:
    """B samples. kp_seq (B, S, M) motion, kp_cond (B, M) condition frame, aud_cond (B, S, C), all float32."""

    kp_seq: np.ndarray
    kp_cond: np.ndarray
    aud_cond: np.ndarray


@dataclass(frozen=True)
class Scaling:
    """Motion is trained as (motion - mean) / sqrt(variance), both (M,)."""

    mean: np.ndarray
    variance: np.ndarray

    @property
    def deviation(self) -> np.ndarray:
        """Square root of the variance, where a variance of 0 counts as LEAST_VARIANCE."""
        return np.sqrt(np.where(self.variance == 0, np.float32(LEAST_VARIANCE), self.variance))


def index_map(frame_nums: Sequence[int], length: int) -> np.ndarray:
    """(N, 2) int64: clip and first frame of every window; the first frame is 1 or later, so that one precedes it."""
    counts = np.maximum(np.asarray(frame_nums, np.int64) - length, 0)
    clips = np.repeat(np.arange(len(counts)), counts)
    firsts = np.arange(len(clips)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return np.stack([clips, firsts], axis=1).reshape(-1, 2)


def measure(clips: Sequence[Clip]) -> Scaling:
    """Mean and population variance of the motion over all frames (spec 5.2), in two passes."""
    total = sum(clip.frames for clip in clips)
    mean = sum(clip.arrays["mtn"].sum(axis=0, dtype=np.float64) for clip in clips) / total
    squares = sum(np.square(clip.arrays["mtn"] - mean).sum(axis=0, dtype=np.float64) for clip in clips)
    return Scaling(mean.astype(np.float32), (squares / total).astype(np.float32))


def read_scaling(path: str | Path, dim: int) -> Scaling:
    """Mean and variance from a [2, dim] npy file. Raises InputError."""
    try:
        rows = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an npy file ({error})") from None
    if rows.shape != (2, dim) or not np.isfinite(rows).all() or (rows[1] < 0).any():
        raise InputError(f"{path}: is {rows.shape}, expected mean and variance of {dim} motion columns")
    return Scaling(*rows)


class Windows:
    """All windows of some clips.

    Args:
        length: S, frames per window. extras: further streams of the condition, in the order of EXTRAS.
        last_frame: the condition frame is the frame before the window, else any frame of the clip.
        relative: (start, end) of motion columns that become relative to the condition frame, or ().
        stride: take every stride-th window only.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        length: int,
        extras: Sequence[str] = (),
        last_frame: bool = False,
        relative: tuple[int, ...] = (),
        scaling: Scaling | None = None,
        stride: int = 1,
    ):
        self._clips, self.length = clips, length
        self._names = ("aud", *extras)
        self._last_frame, self._relative = last_frame, slice(*relative) if relative else None
        self._scale = None if scaling is None else (scaling.mean, scaling.deviation)
        self.index = index_map([clips[i].frames for i in range(len(clips))], length)[::stride]

    def __len__(self) -> int:
        return len(self.index)

    def names(self, chosen: np.ndarray) -> list[str]:
        """Clip and first frame of the windows, for messages."""
        return [f"{self._clips[clip].name} from frame {first}" for clip, first in self.index[chosen]]

    def frames(self, chosen: np.ndarray, fraction: np.ndarray) -> np.ndarray:
        """A frame of the clip of each window, from numbers in 0 .. 1."""
        counts = np.array([self._clips[clip].frames for clip in self.index[chosen, 0]])
        return np.minimum((fraction * counts).astype(np.int64), counts - 1)

    def batch(self, chosen: np.ndarray, fractions: np.ndarray) -> Batch:
        """Samples of the windows `chosen` (B,).

        Args:
            fractions: (2, B) in 0 .. 1, choosing the condition frame and the frame of `sc` and `lmk`.
        """
        return self.at(chosen, self.frames(chosen, fractions[0]), self.frames(chosen, fractions[1]))

    def at(self, chosen: np.ndarray, cond_frames: np.ndarray, face_frames: np.ndarray) -> Batch:
        """The same with frame numbers; `cond_frames` is not looked at with `last_frame`."""
        clips = [self._clips[clip] for clip in self.index[chosen, 0]]
        widths = [clips[0].arrays[name].shape[1] for name in self._names]
        ends = np.cumsum(widths)
        size, dim = len(chosen), clips[0].arrays["mtn"].shape[1]
        seq, frame = np.empty((size, self.length, dim), np.float32), np.empty((size, dim), np.float32)
        cond = np.empty((size, self.length, ends[-1]), np.float32)
        for i, (clip, first) in enumerate(zip(clips, self.index[chosen, 1])):
            rows, arrays = slice(first, first + self.length), clip.arrays
            seq[i] = arrays["mtn"][rows]
            frame[i] = arrays["mtn"][first - 1 if self._last_frame else cond_frames[i]]
            for name, width, end in zip(self._names, widths, ends):
                cond[i, :, end - width : end] = self._columns(name, arrays[name], rows, face_frames[i])
        if self._scale is not None:
            for values in (seq, frame):
                values -= self._scale[0]
                values /= self._scale[1]
        if self._relative is not None:
            seq[:, :, self._relative] -= frame[:, None, self._relative]
        return Batch(seq, frame, cond)

    @staticmethod
    def _columns(name: str, array: np.ndarray, rows: slice, face_frame: int) -> np.ndarray:
        """What a stream contributes: a row for every frame, or one for all."""
        if name not in CONSTANT:
            return array[rows]
        return array[rows].mean(axis=0) if name == "emo" else array[face_frame]
