"""data_list.json -> arrays of one clip as training wants them (spec training.md 2.4, 7.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.motion import KP_DIM, MOTION_DIM
from prepare_data.files import digest, open_npy, read_json, stamp
from prepare_data.options import PreloadOptions

SHAPES = {"emo": (8,), "eye_open": (2,), "eye_ball": (3, 2), "lmk": (478, 3)}  # per frame
_SHOWN = 20  # missing files that an error names


def read_data_list(path: str | Path) -> list[dict[str, Any]]:
    """The records. Raises InputError for a file of another kind."""
    records = read_json(path, "data_list.json")
    if not isinstance(records, list) or not records:
        raise InputError(f"{path}: names no clips (a data_list.json is a list of records)")
    for number, record in enumerate(records):
        wanted = isinstance(record, dict) and all(isinstance(record.get(key), str) for key in ("mtn", "aud"))
        if not wanted or not isinstance(record.get("frame_num"), int):
            raise InputError(f"{path}: record {number} needs mtn, aud (paths) and frame_num")
    return records


def wanted_keys(options: PreloadOptions) -> list[str]:
    """Files of a record that these options read."""
    asked = {key: getattr(options, f"use_{key}") for key in SHAPES}
    return ["mtn", "aud", *(key for key, wanted in asked.items() if wanted)]


def check_records(records: Sequence[Mapping[str, Any]], options: PreloadOptions) -> dict[str, list[int]]:
    """Size and time of every file that will be read. Raises InputError naming all that are missing at once."""
    stamps: dict[str, list[int]] = {}
    missing = []
    for number, record in enumerate(records):
        for key in wanted_keys(options):
            if key not in record:
                raise InputError(f"record {number} ({record['mtn']}) has no {key}; gather the list with --use_{key}")
            try:
                stamps[record[key]] = stamp(record[key])
            except InputError:
                missing.append(record[key])
    if missing:
        missing = list(dict.fromkeys(missing))
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        named = f"{', '.join(missing[:_SHOWN])}{more}"
        raise InputError(f"{len(missing)} feature files are missing: {named}; run gather again")
    return stamps


def load_record(record: Mapping[str, Any], options: PreloadOptions) -> dict[str, Any]:
    """Arrays of one clip, float32: `mtn` (n, motion_feat_dim), `aud` (n, D), as asked `sc` (n, 63), `emo` (n, 8),
    `eye_open` (n, 2), `eye_ball` (n, 6), `lmk` (n, 1434), and `frame_num`.

    Raises InputError naming the file that is damaged, too short, not finite or of another width.
    """
    frames = record["frame_num"]
    clip: dict[str, Any] = {"frame_num": frames}
    start, dim = options.motion_feat_start, options.motion_feat_dim
    motion = _read(record["mtn"], frames)
    needed = max(start + dim, MOTION_DIM + KP_DIM if options.use_sc else 0)
    if motion.ndim != 2 or motion.shape[1] < needed:
        raise InputError(f"{record['mtn']}: motion is {list(motion.shape)}, {needed} columns are needed")
    clip["mtn"] = np.ascontiguousarray(motion[:, start : start + dim])
    clip["aud"] = _read(record["aud"], frames)
    if clip["aud"].ndim != 2:
        raise InputError(f"{record['aud']}: audio features are {list(clip['aud'].shape)}, not frames x width")
    if options.use_sc:
        clip["sc"] = np.ascontiguousarray(motion[:, MOTION_DIM : MOTION_DIM + KP_DIM])
    for key in wanted_keys(options)[2:]:
        array = _read(record[key], frames)
        if array.ndim != 1 + len(SHAPES[key]) or (key != "lmk" and array.shape[1:] != SHAPES[key]):
            raise InputError(f"{record[key]}: {key} is {list(array.shape)}, expected {[frames, *SHAPES[key]]}")
        clip[key] = array.reshape(frames, -1)
    return clip


def load_records(records: Sequence[Mapping[str, Any]], options: PreloadOptions) -> Iterator[dict[str, Any]]:
    """All clips in turn. Raises InputError, also when the width of a feature changes from clip to clip."""
    widths: dict[str, tuple[int, str]] = {}
    for record in records:
        clip = load_record(record, options)
        for key, array in clip.items():
            if key == "frame_num":
                continue
            width, path = widths.setdefault(key, (array.shape[1], record["mtn"]))
            if array.shape[1] != width:
                raise InputError(
                    f"{record.get(key, record['mtn'])}: {key} has {array.shape[1]} columns, {width} in {path}; "
                    "the clips were prepared with different packs"
                )
        yield clip


def index_map(frame_nums: Sequence[int], seq_frames: int) -> list[list[int]]:
    """[clip, first frame] of every window; the frame before the first one must exist (spec 7.1)."""
    return [[clip, frame] for clip, n in enumerate(frame_nums) for frame in range(1, n - seq_frames + 1)]


def list_digest(records: Sequence[Mapping[str, Any]]) -> str:
    """Identifies the content of a data list."""
    return digest(list(records))


def _read(path: str, frames: int) -> np.ndarray:
    array = open_npy(path)
    if not array.ndim or len(array) < frames:
        found = len(array) if array.ndim else 0
        raise InputError(f"{path}: {found} frames, its record says {frames}; run gather again")
    out = np.array(array[:frames], np.float32)
    if not np.isfinite(out).all():
        bad = int(np.flatnonzero(~np.isfinite(out.reshape(frames, -1)).all(axis=1))[0])
        raise InputError(f"{path}: NaN or infinite values from frame {bad} on; prepare this clip again or leave it out")
    return out
