"""Features of the clips: read clip by clip, all in memory, from a preload pickle, or mapped from a packed folder.

Every source is a sequence of Clip. Spec training.md 2.3, 2.4, 7.2.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError, PackError
from core.settings.safe_pickle import load_plain_pickle
from MotionDiT.records import Record

LOG = logging.getLogger(__name__)
EXTRAS = {"emo": 8, "eye_open": 2, "eye_ball": 6, "sc": 63, "lmk": 0}  # columns; 0: as many as there are
SC_START = 265  # first column of the canonical keypoints in an LP file
KEPT_OPEN = 64  # clips that stay mapped when features are read from disk
PACKED = "ditto-features-1"
LARGEST_PICKLE = 1 << 40


@dataclass(frozen=True)
class Wanted:
    """Which columns are used: motion columns start .. start + dim - 1, and the streams of EXTRAS."""

    start: int
    dim: int
    extras: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Streams with a file of their own; `sc` is in the motion's."""
        return tuple(name for name in self.extras if name != "sc")


@dataclass(frozen=True)
class Clip:
    """One clip: `arrays` has mtn (n, dim), aud (n, A) and the wanted extras (n, width), float32."""

    name: str
    frames: int
    arrays: Mapping[str, np.ndarray]


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
    """Map the files of a record into memory, or copy what is used of them. Raises InputError with the file's name."""
    n = record.frame_num
    lp = _open(record.files["mtn"], n)
    arrays = {"mtn": lp[:n, wanted.start : wanted.start + wanted.dim], "aud": _open(record.files["aud"], n)[:n]}
    for name in wanted.extras:
        rows = lp[:n, SC_START:] if name == "sc" else _open(record.files[name], n)[:n].reshape(n, -1)
        arrays[name] = rows
    if copy:
        arrays = {name: np.array(array, np.float32) for name, array in arrays.items()}
    return Clip(record.name, n, arrays)


def _open(path: str, frames: int) -> np.ndarray:
    """The array of an npy file with at least `frames` rows, mapped where it is float32 already."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an npy file ({error}); prepare this clip again") from None
    if array.ndim < 2 or len(array) < frames or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: has {array.dtype} of shape {array.shape}, not {frames} rows of numbers")
    return array.astype(np.float32, copy=False)


def read_pickle(path: str | Path, records: Sequence[Record], wanted: Wanted) -> list[Clip]:
    """Clips of a preload pickle, the reference's or ours, read without running anything in it. Raises InputError."""
    try:
        content = load_plain_pickle(path, LARGEST_PICKLE, "file of features")
        clips = content[0]
        frames = [int(clip["frame_num"]) for clip in clips]
    except PackError as error:
        raise InputError(str(error)) from None
    except (LookupError, TypeError, ValueError):
        raise InputError(f"{path}: is not a preload pickle, [clips, index map]; remove it to have it made") from None
    if frames != [record.frame_num for record in records]:
        raise InputError(f"{path}: was made from another data list; remove it to have it made again")
    names = ("mtn", "aud", *wanted.extras)
    for record, clip in zip(records, clips):
        lacking = [name for name in names if not isinstance(clip.get(name), np.ndarray)]
        if lacking:
            raise InputError(f"{path}: clip {record.name} has no {', '.join(lacking)}; remove it to have it made again")
    rows = [{name: clip[name].astype(np.float32, copy=False) for name in names} for clip in clips]
    return [Clip(record.name, record.frame_num, arrays) for record, arrays in zip(records, rows)]


def write_pickle(path: str | Path, clips: Sequence[Clip], index_map: np.ndarray) -> None:
    """Write the preload pickle of spec 2.4; a reader never sees half of it."""
    plain = [{name: np.array(array) for name, array in clip.arrays.items()} for clip in clips]
    content = [[{"frame_num": clip.frames, **arrays} for clip, arrays in zip(clips, plain)], index_map.tolist()]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            pickle.dump(content, file, protocol=4)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_packed(folder: str | Path, records: Sequence[Record], wanted: Wanted) -> list[Clip]:
    """Clips of a folder that preload_train_data_to_pkl.py --data_mmap_dir wrote, mapped. Raises InputError."""
    index_path = Path(folder) / "index.json"
    remake = "make it with prepare_data/scripts/preload_train_data_to_pkl.py --data_mmap_dir"
    try:
        index: Any = json.loads(index_path.read_text(encoding="utf-8"))
        entries = index["clips"]
        if index["format"] != PACKED or [e["frame_num"] for e in entries] != [r.frame_num for r in records]:
            raise InputError(f"{folder}: was made from another data list or by another version; {remake}")
        if index["options"].get("motion_feat_start", 0) != wanted.start:
            raise InputError(f"{folder}: starts at another motion column than --motion_feat_start; {remake}")
        names = ("mtn", "aud", *wanted.extras)
        whole = {name: np.load(Path(folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
        return [Clip(e["name"], e["frame_num"], {name: _rows(whole[name], e, name) for name in names}) for e in entries]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{folder}: no usable packed features ({error}); {remake}") from None


def _rows(whole: np.ndarray, entry: Mapping[str, Any], name: str) -> np.ndarray:
    """The rows of a clip in the array of all clips."""
    first = entry["start"][name]
    return whole[first : first + entry["frame_num"]]


def check(clips: Sequence[Clip], wanted: Wanted) -> dict[str, int]:
    """Width of every column group of the condition, in its order: aud, then the extras (spec 7.3).

    Raises InputError naming clip and stream for widths that differ or values that are not finite.
    """
    widths: dict[str, int] = {}
    for clip in (clips[i] for i in range(len(clips))):
        for name, array in clip.arrays.items():
            expected = wanted.dim if name == "mtn" else EXTRAS.get(name) or widths.get(name, array.shape[1])
            if array.shape != (clip.frames, expected):
                raise InputError(f"{clip.name}: {name} is {array.shape}, expected {(clip.frames, expected)}")
            if not np.isfinite(array.sum()) and not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array).all(axis=1))[0, 0])
                raise InputError(f"{clip.name}: {name} is not finite in frame {row}; prepare this clip again")
            widths[name] = array.shape[1]
    return {name: widths[name] for name in ("aud", *wanted.extras)}
