"""Features of the clips of a data list, read from their npy files: which columns, as which arrays, and their checks.

Both the preparation, which packs the features, and the training, which uses them, read clips through this module.
Spec training.md 2.3, 7.2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import InputError
from core.motion import KP_DIM, MOTION_DIM
from core.packs.motion_config import GROUP_WIDTHS
from MotionDiT.records import Record

# streams besides motion and audio, in the order of the condition -> numbers per frame; 0: as many as there are
EXTRAS = {**GROUP_WIDTHS, "lmk": 0}
KEPT_OPEN = 64  # clips that stay mapped when features are read from disk


@dataclass(frozen=True)
class Wanted:
    """Which columns are used: motion columns start .. start + dim - 1, and the streams of EXTRAS."""

    start: int
    dim: int
    extras: tuple[str, ...]

    @classmethod
    def of(cls, options: Any) -> Wanted:
        """What options with motion_feat_start, motion_feat_dim and a flag use_<name> for each of EXTRAS ask for."""
        extras = tuple(name for name in EXTRAS if getattr(options, f"use_{name}"))
        return cls(options.motion_feat_start, options.motion_feat_dim, extras)

    @property
    def files(self) -> tuple[str, ...]:
        """Streams with a file of their own; the canonical keypoints `sc` are the last columns of the motion's file."""
        return tuple(name for name in self.extras if name != "sc")


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        name: path of its motion file.
        frames: n, number of frames.
        arrays: float32 `mtn` (n, dim), `aud` (n, D) and the wanted extras: `emo` (n, 8), `eye_open` (n, 2),
            `eye_ball` (n, 6), `sc` (n, 63), `lmk` (n, 3 * points).
        files: stream -> path, for messages; empty where the clip comes out of one file with all the others.
    """

    name: str
    frames: int
    arrays: Mapping[str, np.ndarray]
    files: Mapping[str, str] = field(default_factory=dict)

    def origin(self, stream: str) -> str:
        """The file to name when something is wrong with a stream."""
        return self.files.get(stream, self.name)


class DiskClips(Sequence):
    """Clips mapped from their npy files when they are asked for; `keep` holds every one in memory after that."""

    def __init__(self, records: Sequence[Record], wanted: Wanted, keep: bool = False):
        self._records, self._wanted, self._keep = records, wanted, keep
        self._open: OrderedDict[int, Clip] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> Clip:
        clip = self._open.get(number)
        if clip is None:
            clip = read_clip(self._records[number], self._wanted, copy=self._keep)
            self._open[number] = clip
            if not self._keep and len(self._open) > KEPT_OPEN:
                self._open.popitem(last=False)
        return clip


class Subset(Sequence):
    """Some of the clips."""

    def __init__(self, clips: Sequence[Clip], chosen: Sequence[int]):
        self._clips, self._chosen = clips, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: int) -> Clip:
        return self._clips[self._chosen[number]]


def read_clip(record: Record, wanted: Wanted, copy: bool = False) -> Clip:
    """Map the files of a record into memory, or copy what is used of them.

    Raises InputError naming the file that is damaged, too short or has too few columns of motion.
    """
    frames = record.frame_num
    path = record.files["mtn"]
    motion = _open(path, frames)
    needed = max(wanted.start + wanted.dim, MOTION_DIM + KP_DIM if "sc" in wanted.extras else 0)
    if motion.ndim != 2 or motion.shape[1] < needed:
        raise InputError(f"{path}: motion is {motion.shape}, {needed} columns are needed; see --motion_feat_dim")
    arrays = {"mtn": motion[:frames, wanted.start : wanted.start + wanted.dim]}
    arrays["aud"] = _open(record.files["aud"], frames)[:frames]
    for name in wanted.extras:
        is_motion = name == "sc"
        rows = motion[:, MOTION_DIM : MOTION_DIM + KP_DIM] if is_motion else _open(record.files[name], frames)
        arrays[name] = rows[:frames].reshape(frames, -1)
    if copy:
        arrays = {name: np.array(array, np.float32) for name, array in arrays.items()}
    return Clip(record.name, frames, arrays, record.files)


def _open(path: str, frames: int) -> np.ndarray:
    """The array of an npy file with at least `frames` rows, mapped where it is float32 already."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an npy file ({error}); prepare this clip again") from None
    if not isinstance(array, np.ndarray) or array.ndim < 2 or len(array) < frames or array.dtype.kind not in "fiu":
        found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise InputError(f"{path}: has {found}, not {frames} rows of numbers; prepare this clip again")
    return array.astype(np.float32, copy=False)


def check_clip(clip: Clip, wanted: Wanted, widths: dict[str, int]) -> None:
    """Compare a clip with the widths (stream -> columns) of those before it, and enter its own.

    Raises InputError naming file and stream for another shape or values that are not finite.
    """
    for name, array in clip.arrays.items():
        fixed = wanted.dim if name == "mtn" else EXTRAS.get(name)
        expected = (clip.frames, fixed or widths.get(name, array.shape[-1]))
        where = f"{clip.origin(name)}: {name}"
        if array.shape != expected:
            hint = "" if fixed else "; were the clips prepared with different packs?"
            raise InputError(f"{where} is {array.shape}, expected {expected}{hint}")
        # the sum is not finite where a value is not; the slow test by element is for the rare overflow, and to find it
        if not np.isfinite(array.sum()) and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array).all(axis=1))[0, 0])
            raise InputError(f"{where} is not finite in frame {row}; prepare this clip again or leave it out")
        widths[name] = expected[1]


def check(clips: Sequence[Clip], wanted: Wanted) -> dict[str, int]:
    """Width of every column group of the condition, in its order: aud, then the extras (spec 7.3).

    Raises InputError naming clip and stream for widths that differ or values that are not finite.
    """
    widths: dict[str, int] = {}
    for number in range(len(clips)):
        check_clip(clips[number], wanted, widths)
    return {name: widths[name] for name in ("aud", *wanted.extras)}
