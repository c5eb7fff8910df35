"""`data_info.json`: which files belong to which clip (spec training.md 2.1, 2.2)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from prepare_data.files import read_json

SOURCE = "fps25_video_list"
LISTS = (
    *(SOURCE, "video_list", "wav_list", "hubert_aud_npy_list", "LP_pkl_list", "LP_npy_list"),
    *("MP_lmk_npy_list", "eye_open_npy_list", "eye_ball_npy_list", "emo_npy_list"),
)


@dataclass(frozen=True)
class Clip:
    """One source video: list name -> path, as `data_info.json` has it."""

    paths: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.paths[name]

    @property
    def origin(self) -> str:
        """What users call this clip: its source video, else its first file."""
        return self.paths.get(SOURCE) or next(iter(self.paths.values()))

    @property
    def key(self) -> str:
        """A name for files about this clip, different for every clip of one `data_info.json`."""
        path = Path(self.origin)
        return f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def read_data_info(path: str | Path, needed: Sequence[str] = ()) -> list[Clip]:
    """The clips of a `data_info.json`.

    Args:
        needed: lists that must be there.

    Raises InputError as `clips_of`, and for a file that cannot be read.
    """
    return clips_of(read_json(path, "data_info.json"), path, needed)


def clips_of(content: Any, path: str | Path, needed: Sequence[str] = ()) -> list[Clip]:
    """The clips that the content of a `data_info.json` names; `path` is its file, for messages.

    Raises InputError for content of another kind, lists of different lengths, missing lists, and two clips that would
    write to one file.
    """
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a data_info.json (it holds no object of lists)")
    lists = {name: content[name] for name in LISTS if name in content}
    for name, values in lists.items():
        if not isinstance(values, list) or any(not isinstance(value, str) or not value for value in values):
            raise InputError(f"{path}: '{name}' must be a list of paths")
    missing = [name for name in needed if name not in lists]
    if missing:
        raise InputError(f"{path}: has no {', '.join(missing)}")
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: its lists differ in length ({', '.join(f'{k} {v}' for k, v in lengths.items())})")
    if not lists or not next(iter(lengths.values())):
        raise InputError(f"{path}: names no clips")
    clips = [Clip(dict(zip(lists, row))) for row in zip(*lists.values())]
    _refuse_collisions(path, clips)
    return clips


def _refuse_collisions(info: str | Path, clips: Sequence[Clip]) -> None:
    """Two clips must not share a file (two sources of one name in different folders, say)."""
    for name in LISTS:
        paths = Counter(clip.paths[name] for clip in clips if name in clip.paths)
        double = [path for path, count in paths.items() if count > 1]
        if double:
            raise InputError(f"{info}: {name} names {double[0]} for more than one clip; give every clip its own files")


def flip_path(path: str) -> str:
    """Feature file -> that of the mirrored clip: `_flip` goes to the name of the parent folder (spec 2.2).

    Raises InputError for a path without a folder.
    """
    parts = path.split("/")
    if len(parts) < 2:
        raise InputError(f"{path}: has no folder whose name could take '_flip'; give the path with its folder")
    parts[-2] += "_flip"
    return "/".join(parts)


def data_info_for(videos: Sequence[str], root: str | Path) -> dict[str, list[str]]:
    """The lists for source videos; what is made of them goes into folders below `root`, named by their stems."""
    stems = [Path(video).stem for video in videos]
    places = {"video_list": ("video", "mp4"), "wav_list": ("wav", "wav"), "LP_pkl_list": ("LP_pkl", "pkl")}
    out = {SOURCE: list(videos)}
    for name in LISTS[1:]:
        folder, suffix = places.get(name, (name.removesuffix("_list"), "npy"))
        out[name] = [f"{root}/{folder}/{stem}.{suffix}" for stem in stems]
    return out


def example_data_info(root: str | Path, names: Sequence[str]) -> dict[str, list[str]]:
    """The lists for videos `ROOT/fps25_mp4/NAME` (names that end in `.mp4`; others are left out), sorted."""
    return data_info_for([f"{root}/fps25_mp4/{name}" for name in sorted(names) if name.endswith(".mp4")], root)
