"""All features in one file, or in a few that training maps into memory (spec training.md 2.4, 5.2, D-06)."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from core.errors import InputError
from MotionDiT import preloaded
from MotionDiT.features import Clip, DiskClips, Wanted, check_clip, read_clip
from MotionDiT.records import Record, read_records, require_files
from MotionDiT.windows import index_map, measure
from prepare_data.files import Staging, digest, disk_errors, read_json, stamp, write_json
from prepare_data.options import PreloadOptions

LOG = logging.getLogger(__name__)
FORMAT = 1
SHARED = ("aud", "emo")  # a mirrored record names the same files as the plain one


@dataclass(frozen=True)
class _Source:
    """A data list that was looked through: its entries as JSON has them, as records, and what identifies them."""

    entries: list[Mapping[str, Any]]
    records: list[Record]
    wanted: Wanted
    made_from: dict[str, Any]


def write_pickle(data_list: str | Path, out: str | Path, options: PreloadOptions) -> bool:
    """Write `[clips, index map]` and, beside it, what it was made from. False when it was there already.

    Raises InputError for missing or unusable features; the old file then stays.
    """
    source = _open_list(data_list, options)
    note = Path(f"{out}.json")
    made_from = {"format": FORMAT, **source.made_from}
    if Path(out).is_file() and _same(note, made_from):
        return False
    clips = list(_checked_clips(source, copy=True))
    windows = index_map([clip.frames for clip in clips], options.seq_frames)
    note.unlink(missing_ok=True)  # a run that is killed from here on leaves a file that nobody vouches for
    preloaded.write_pickle(out, clips, windows)
    write_json(note, made_from)
    return True


def write_mmap(data_list: str | Path, folder: str | Path, options: PreloadOptions) -> bool:
    """Write the features as one .npy per kind and `index.json`; False when they were there already.

    Raises InputError as `write_pickle`.
    """
    source = _open_list(data_list, options)
    folder = Path(folder)
    if _same(folder / "index.json", source.made_from):
        return False
    if folder.exists() and not (folder / "index.json").is_file() and any(folder.iterdir()):
        raise InputError(f"{folder}: holds other files; give a folder of its own")
    part = folder.with_name(f".{folder.name}.part")
    with disk_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            _fill(part, source)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return True


def mean_variance(data_list: str | Path, options: PreloadOptions) -> np.ndarray:
    """(2, motion_feat_dim) float32: mean and population variance of each motion column over all frames of all clips."""
    found = measure(DiskClips(_open_list(data_list, options).records, Wanted.of(options)))
    return np.stack([found.mean, found.variance])


def write_mean_variance(data_list: str | Path, out: str | Path, options: PreloadOptions) -> None:
    """Write them as .npy."""
    with Staging() as stage:
        with open(stage(out), "wb") as file:
            np.save(file, mean_variance(data_list, options))


def _open_list(data_list: str | Path, options: PreloadOptions) -> _Source:
    """Read the list and see that its files exist. Raises InputError naming the missing ones."""
    if options.dataset_version != "v2":
        raise InputError(f"--dataset_version {options.dataset_version} is not implemented; use v2")
    wanted = Wanted.of(options)
    records = read_records(data_list, wanted.files)
    require_files(records)
    entries = read_json(data_list, "data_list.json")
    chosen = {key: value for key, value in asdict(options).items() if key != "dataset_version"}
    stamps = {path: stamp(path) for record in records for path in record.files.values()}
    return _Source(entries, records, wanted, {"options": chosen, "data_list": digest(entries), "files": stamps})


def _checked_clips(source: _Source, copy: bool) -> Iterator[Clip]:
    """All clips in turn. Raises InputError, also when the width of a feature changes from clip to clip."""
    widths: dict[str, int] = {}
    for record in source.records:
        clip = read_clip(record, source.wanted, copy)
        check_clip(clip, source.wanted, widths)
        yield clip


def _same(note: Path, made_from: Mapping[str, Any]) -> bool:
    """Whether the file beside `note` was made from just this."""
    try:
        known = read_json(note, "note")
    except InputError:
        return False
    return isinstance(known, dict) and all(known.get(key) == value for key, value in made_from.items())


def _fill(folder: Path, source: _Source) -> None:
    """Write clip after clip, so that memory holds one at a time.

    Plain files and not mappings: a full disk then is an error and not a signal that ends the program.
    """
    first_rows: dict[str, list[int]] = {}
    dims: dict[str, int] = {}
    written: dict[str, int] = {}
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for number, clip in enumerate(_checked_clips(source, copy=False)):
            for stream, array in clip.arrays.items():
                if stream not in files:
                    first_rows[stream], rows = _places(source.records, stream)
                    dims[stream], written[stream] = int(array.shape[1]), 0
                    files[stream] = stack.enter_context(open(folder / f"{stream}.npy", "wb"))
                    _write_header(files[stream], (rows, dims[stream]))
                if first_rows[stream][number] == written[stream]:  # a shared array is there already
                    files[stream].write(np.ascontiguousarray(array, "<f4").tobytes())
                    written[stream] += len(array)
    clips = [
        {
            "frame_num": record.frame_num,
            "start": {stream: starts[number] for stream, starts in first_rows.items()},
            "name": record.name,
            **{key: entry[key] for key in ("emo_source",) if key in entry},
        }
        for number, (record, entry) in enumerate(zip(source.records, source.entries))
    ]
    write_json(folder / "index.json", {"format": preloaded.PACKED, **source.made_from, "dims": dims, "clips": clips})


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _places(records: Sequence[Record], stream: str) -> tuple[list[int], int]:
    """First row of each record's array in the file of its stream, and the number of rows in all."""
    known: dict[tuple[str, int], int] = {}
    starts, rows = [], 0
    for number, record in enumerate(records):
        name = (record.files[stream] if stream in SHARED else str(number), record.frame_num)
        if name not in known:
            known[name] = rows
            rows += record.frame_num
        starts.append(known[name])
    return starts, rows
