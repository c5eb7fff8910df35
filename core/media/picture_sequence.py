"""A source video that comes as numbered pictures: a folder, or a pattern such as frames/%04d.png."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from core.media.alpha_frames import AlphaFrames
from core.media.images import read_alpha, read_image

_COUNTER = re.compile(r"%0?\d*d")
_DIGITS = re.compile(r"(\d+)")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_PICTURES = 24  # held: more than the render stages are apart


def sequence_files(path: str | Path) -> list[Path] | None:
    """The pictures of a folder or pattern in order of their numbers; None when `path` is neither.

    Raises InputError when there are none.
    """
    path = Path(path)
    if path.is_dir():
        named = (file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.name[0] != ".")
        found = [file for file in named if not file.is_dir()]
        if not found:
            raise InputError(f"{path}: no pictures in this folder (looked for {', '.join(_SUFFIXES)})")
        return sorted(found, key=lambda file: _natural(file.name))
    counter = _COUNTER.search(path.name)
    if counter is None or path.is_file():
        return None
    pattern = re.compile(re.escape(path.name[: counter.start()]) + r"\d+" + re.escape(path.name[counter.end() :]))
    folder = path.parent.iterdir() if path.parent.is_dir() else ()
    found = [file for file in folder if pattern.fullmatch(file.name) and not file.is_dir()]
    if not found:
        raise InputError(f"{path}: no pictures are named like this")
    return sorted(found, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]


class PictureSequence:
    """The frames of a sequence as `VideoReader` gives those of a video: one picture per output frame, all of one size.

    Raises InputError, also later, for pictures that cannot be read.
    """

    def __init__(self, files: Sequence[Path], max_size: int):
        self.files, self.max_size = files, max_size

    def pictures(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Number, times that it is shown (1), and picture of each frame."""
        frames = PictureFrames(self.files, self.max_size)
        for number in range(len(frames)):
            yield number, 1, frames[number]


class PictureFrames(Sequence[np.ndarray]):
    """Pictures (H, W, 3) uint8 RGB, read-only, read when they are asked for. May be shared by threads."""

    def __init__(self, files: Sequence[Path], max_size: int):
        self._files, self._max_size = files, max_size
        self._size: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        with self._lock:
            picture = self._kept.get(index)
            if picture is None:
                picture = self._kept[index] = self._sized(read_image(self._files[index], self._max_size))
                picture.flags.writeable = False
                if len(self._kept) > _PICTURES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(index)
            return picture

    def alpha(self) -> AlphaFrames:
        """The opacity of the pictures. Raises InputError when the first has none."""
        if read_alpha(self._files[0], self._max_size) is None:
            raise InputError(f"{self._files[0]}: the pictures have no transparency; leave out --alpha")
        return AlphaFrames(self)

    def alpha_of(self, index: int) -> np.ndarray:
        """(H, W) uint8 opacity of one picture; one without counts as opaque."""
        size = self[index].shape[:2]
        alpha = read_alpha(self._files[index], self._max_size)
        return np.full(size, 255, np.uint8) if alpha is None else self._sized(alpha)

    def _sized(self, picture: np.ndarray) -> np.ndarray:
        if self._size is None:
            self._size = picture.shape[:2]
        return picture if picture.shape[:2] == self._size else cv2.resize(picture, self._size[::-1])
