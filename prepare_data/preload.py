"""All features in one file, or in a few that training maps into memory (spec training.md 2.4, 5.2, D-06)."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from core.errors import InputError
from prepare_data.features import check_records, index_map, list_digest, load_records, read_data_list
from prepare_data.files import Staging, disk_errors, read_json, write_json
from prepare_data.options import PreloadOptions

LOG = logging.getLogger(__name__)
FORMAT = 1
MMAP_FORMAT = "ditto-features-1"
SHARED = ("aud", "emo")  # a mirrored record names the same files as the plain one


def signature(records: Sequence[Mapping[str, Any]], options: PreloadOptions) -> dict[str, Any]:
    """What a preload file was made from. Raises InputError naming all missing files."""
    chosen = {key: value for key, value in asdict(options).items() if key != "dataset_version"}
    return {"options": chosen, "data_list": list_digest(records), "files": check_records(records, options)}


def write_pickle(data_list: str | Path, out: str | Path, options: PreloadOptions) -> bool:
    """Write `[clips, idx_map]` and, beside it, what it was made from. False when it was there already.

    Raises InputError for missing or unusable features; the old file then stays.
    """
    records, made_from = _inputs(data_list, options)
    note = Path(f"{out}.json")
    made_from = {"format": FORMAT, **made_from}
    if Path(out).is_file() and _same(note, made_from):
        return False
    clips = list(load_records(records, options))
    windows = index_map([clip["frame_num"] for clip in clips], options.seq_frames)
    note.unlink(missing_ok=True)  # a run that is killed from here on leaves a file that nobody vouches for
    with Staging() as stage, open(stage(out), "wb") as file:
        pickle.dump([clips, windows], file, protocol=4)
    write_json(note, made_from)
    return True


def write_mmap(data_list: str | Path, folder: str | Path, options: PreloadOptions) -> bool:
    """Write the features as one .npy per kind and `index.json`; False when they were there already.

    Raises InputError as `write_pickle`.
    """
    records, made_from = _inputs(data_list, options)
    folder = Path(folder)
    if _same(folder / "index.json", made_from):
        return False
    if folder.exists() and not (folder / "index.json").is_file() and any(folder.iterdir()):
        raise InputError(f"{folder}: holds other files; give a folder of its own")
    part = folder.with_name(f".{folder.name}.part")
    with disk_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            _fill(part, records, options, made_from)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return True


def mean_variance(data_list: str | Path, options: PreloadOptions) -> np.ndarray:
    """(2, motion_feat_dim) float32: mean and population variance of each motion column over all frames of all clips."""
    records, _ = _inputs(data_list, options)
    motion = np.concatenate([clip["mtn"] for clip in load_records(records, options)])
    return np.stack([motion.mean(axis=0), motion.var(axis=0)]).astype(np.float32)


def write_mean_variance(data_list: str | Path, out: str | Path, options: PreloadOptions) -> None:
    """Write them as .npy."""
    with Staging() as stage:
        with open(stage(out), "wb") as file:
            np.save(file, mean_variance(data_list, options))


def _inputs(data_list: str | Path, options: PreloadOptions) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if options.dataset_version != "v2":
        raise InputError(f"--dataset_version {options.dataset_version} is not implemented; use v2")
    records = read_data_list(data_list)
    return records, signature(records, options)


def _same(note: Path, made_from: Mapping[str, Any]) -> bool:
    """Whether the file beside `note` was made from just this."""
    try:
        known = read_json(note, "note")
    except InputError:
        return False
    return isinstance(known, dict) and all(known.get(key) == value for key, value in made_from.items())


def _fill(
    folder: Path, records: Sequence[Mapping[str, Any]], options: PreloadOptions, made_from: Mapping[str, Any]
) -> None:
    """Write clip after clip, so that memory holds one at a time.

    Plain files and not mappings: a full disk then is an error and not a signal that ends the program.
    """
    plan: dict[str, tuple[list[int], int]] = {}
    dims: dict[str, int] = {}
    written: dict[str, int] = {}
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for number, clip in enumerate(load_records(records, options)):
            for kind, array in clip.items():
                if kind == "frame_num":
                    continue
                if kind not in files:
                    plan[kind], dims[kind], written[kind] = _places(records, kind), int(array.shape[1]), 0
                    files[kind] = stack.enter_context(open(folder / f"{kind}.npy", "wb"))
                    _write_header(files[kind], (plan[kind][1], dims[kind]))
                if plan[kind][0][number] == written[kind]:  # a shared array is there already
                    files[kind].write(np.ascontiguousarray(array, "<f4").tobytes())
                    written[kind] += len(array)
    clips = [
        {
            "frame_num": record["frame_num"],
            "start": {kind: starts[number] for kind, (starts, _) in plan.items()},
            "name": record["mtn"],
            **{key: record[key] for key in ("emo_source",) if key in record},
        }
        for number, record in enumerate(records)
    ]
    write_json(folder / "index.json", {"format": MMAP_FORMAT, **made_from, "dims": dims, "clips": clips})


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _places(records: Sequence[Mapping[str, Any]], kind: str) -> tuple[list[int], int]:
    """First row of each record's array in the file of its kind, and the number of rows in all."""
    known: dict[tuple[str, int], int] = {}
    starts, rows = [], 0
    for number, record in enumerate(records):
        name = (record[kind] if kind in SHARED else str(number), record["frame_num"])
        if name not in known:
            known[name] = rows
            rows += record["frame_num"]
        starts.append(known[name])
    return starts, rows
