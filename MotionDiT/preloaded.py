"""Features of all clips together: the preload pickle, and the packed folder that is mapped into memory.

Spec training.md 2.4.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError, OutputError, PackError
from core.settings.safe_pickle import load_plain_pickle
from core.utils.whole_file import whole_file
from MotionDiT.features import Clip, Wanted
from MotionDiT.records import Record

PACKED = "ditto-features-1"  # format of a packed folder, in its index.json
LARGEST_PICKLE = 1 << 40  # bytes


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
    """Write the preload pickle `[clips, index map]`; a reader never sees half of it. Raises OutputError."""
    # asarray: a view of a mapped file is an array like any other in the pickle
    plain = [{name: np.asarray(array) for name, array in clip.arrays.items()} for clip in clips]
    content = [[{"frame_num": clip.frames, **arrays} for clip, arrays in zip(clips, plain)], index_map.tolist()]
    try:
        with whole_file(Path(path)) as part, open(part, "wb") as file:
            pickle.dump(content, file, protocol=4)
    except OSError as error:
        raise OutputError(f"{path}: cannot write ({error.strerror or error})") from error


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
