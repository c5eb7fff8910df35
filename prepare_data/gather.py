"""data_info.json -> data_list.json: which clips can be trained on (spec training.md 2.4, 2.6, 5.1)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from prepare_data.data_info import Clip, flip_path, read_data_info
from prepare_data.files import open_npy, write_json
from prepare_data.options import GatherOptions
from prepare_data.status import ClipStatus, status_folder

FLIPPED = ("mtn", "eye_open", "eye_ball", "lmk")  # a mirrored clip has its own; sound and emotion are the same


@dataclass(frozen=True)
class Dropped:
    """A clip, or its mirrored twin, that cannot be used."""

    clip: str
    mirrored: bool
    reason: str


@dataclass(frozen=True)
class Gathered:
    """Records of the usable clips, how many of them each pass found, and what was dropped."""

    records: list[dict[str, Any]]
    counts: list[int]
    dropped: list[Dropped]

    def dropped_lines(self, known: Collection[str] = ()) -> list[str]:
        """One line for each clip of which something was dropped, those `known` to have failed left out."""
        plain = {one.clip for one in self.dropped if not one.mirrored}
        shown = [one for one in self.dropped if one.clip not in known and not (one.mirrored and one.clip in plain)]
        return [f"left out: {one.clip}{' (mirrored)' if one.mirrored else ''}: {one.reason}" for one in shown]


def gather(data_info: str | Path, options: GatherOptions) -> Gathered:
    """The records: all plain ones, then, if asked, all mirrored ones. Raises InputError for an unusable file."""
    if options.dataset_version != "v2":
        raise InputError(f"--dataset_version {options.dataset_version} is not implemented; use v2")
    lists = record_lists(options)
    clips = read_data_info(data_info, list(lists.values()))
    folder = status_folder(data_info)
    records: list[dict[str, Any]] = []
    counts: list[int] = []
    dropped: list[Dropped] = []
    for flip in (False, True) if options.with_flip else (False,):
        before = len(records)
        for clip in clips:
            paths = {key: clip[name] for key, name in lists.items()}
            if flip:
                paths.update({key: flip_path(path) for key, path in paths.items() if key in FLIPPED})
            try:
                frames = shortest(list(paths.values()), options.min_frames)
            except InputError as error:
                dropped.append(Dropped(clip.origin, flip, str(error)))
                continue
            records.append({**paths, "frame_num": frames, **_origin_of_emotion(folder, clip, options)})
        counts.append(len(records) - before)
    return Gathered(records, counts, dropped)


def record_lists(options: GatherOptions) -> dict[str, str]:
    """Key of a record -> list of `data_info.json`, in the order of the file."""
    lists = {"mtn": "LP_npy_list", "aud": options.aud_feat_name}
    asked = {
        "emo": (options.use_emo, "emo_npy_list"),
        "eye_open": (options.use_eye_open, "eye_open_npy_list"),
        "eye_ball": (options.use_eye_ball, "eye_ball_npy_list"),
        "lmk": (options.use_lmk, "MP_lmk_npy_list"),
    }
    return {**lists, **{key: name for key, (wanted, name) in asked.items() if wanted}}


def shortest(paths: Sequence[str], least: int) -> int:
    """Frames that all files have. Raises InputError when one is missing or damaged, or they are fewer than `least`."""
    lengths = {path: len(open_npy(path)) for path in paths}
    path = min(lengths, key=lambda name: lengths[name])
    if lengths[path] < least:
        raise InputError(f"{path}: only {lengths[path]} frames, {least} are needed")
    return lengths[path]


def write_list(path: str | Path, gathered: Gathered) -> None:
    """Write data_list.json. Raises InputError when nothing is usable; the old file then stays."""
    if not gathered.records:
        shown = "; ".join(dict.fromkeys(one.reason for one in gathered.dropped[:3]))
        raise InputError(f"no clip can be used, {path} is not written ({shown})")
    write_json(path, gathered.records)


def _origin_of_emotion(folder: Path, clip: Clip, options: GatherOptions) -> dict[str, str]:
    """Which classifier made the scores, where that is known."""
    record = ClipStatus(folder, clip).steps.get("emotion", {}) if options.use_emo else {}
    return {"emo_source": record["emo_source"]} if "emo_source" in record else {}
