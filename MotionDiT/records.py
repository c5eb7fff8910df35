"""data_list.json: the clips of a training set, their files, and a split of them (spec training.md 2.4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import InputError

FIXED = ("mtn", "aud")  # every record has these; the rest depends on flags
SHOWN = 8  # missing files that a message names


@dataclass(frozen=True)
class Record:
    """One clip: its number of frames and the file of each stream."""

    frame_num: int
    files: Mapping[str, str]

    @property
    def name(self) -> str:
        """Path of its motion file."""
        return self.files["mtn"]

    @property
    def video(self) -> str:
        """What it shares with its mirrored twin: the path without `_flip` behind the folder's name (spec 2.2)."""
        path = Path(self.name)
        return str(path.parent.with_name(path.parent.name.removesuffix("_flip")) / path.name)


def read_records(path: str | Path, streams: Sequence[str]) -> list[Record]:
    """Records of a data list that have all of `streams`. Raises InputError with file, entry and key."""
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: a data list is a JSON array of records, this one has none; prepare the data again")
    return [_record(path, number, entry, streams) for number, entry in enumerate(entries)]


def _record(path: str | Path, number: int, entry: object, streams: Sequence[str]) -> Record:
    if not isinstance(entry, dict):
        raise InputError(f"{path}: entry {number} is not a record; only data sets of version v2 can be read")
    lacking = [key for key in (*FIXED, *streams, "frame_num") if key not in entry]
    if lacking:
        flags = " ".join(f"--use_{key}" for key in lacking if key in streams)
        remedy = f"gather the data list with {flags}, or drop the flag" if flags else "gather the data list again"
        raise InputError(f"{path}: entry {number} has no {', '.join(lacking)}; {remedy}")
    frames = entry["frame_num"]
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < 1:
        raise InputError(f"{path}: entry {number} has frame_num {frames!r}")
    return Record(frames, {key: str(entry[key]) for key in (*FIXED, *streams)})


def require_files(records: Sequence[Record]) -> None:
    """Raise InputError naming the files of the records that do not exist."""
    files = dict.fromkeys(file for record in records for file in record.files.values())
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        named = f"{', '.join(missing[:SHOWN])}{more}"
        raise InputError(f"{len(missing)} feature files of the data list are missing: {named}; run gather again")


def split(records: Sequence[Record], part: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the records to train on and of those to validate on.

    Whole videos are kept out, with their mirrored twins: at least one, and one stays. Raises InputError for one video.
    """
    videos = sorted({record.video for record in records})
    if not part:
        return list(range(len(records))), []
    if len(videos) < 2:
        raise InputError("--val_split needs at least two videos")
    count = min(max(1, round(part * len(videos))), len(videos) - 1)
    order = np.random.default_rng([seed, len(videos)]).permutation(len(videos))
    held = {videos[i] for i in order[:count]}
    train = [i for i, record in enumerate(records) if record.video not in held]
    return train, [i for i, record in enumerate(records) if record.video in held]


def fingerprint(records: Sequence[Record]) -> str:
    """A short name for these records, to notice that a resumed run has other data."""
    text = json.dumps([[record.frame_num, record.name] for record in records])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
