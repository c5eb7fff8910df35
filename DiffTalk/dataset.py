"""The training data: pictures, landmarks and speech windows by stem `identity_frame` (spec difftalk.md section 8)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from core.errors import InputError
from DiffTalk import pictures
from DiffTalk.shapes import LOGITS, WINDOW, WINDOWS

LOG = logging.getLogger(__name__)
STEM = re.compile(r"(\d+)_(\d+)")
REFERENCE_DISTANCE = 60  # frames between a frame and its reference picture, at least
EXTRACTOR_FILE = "audio_features.txt"  # beside data.txt: name of the extractor of the speech logits
_SHOWN = 3


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set lie."""

    root: Path

    @property
    def base(self) -> Path:
        """Folder of everything but the two lists."""
        return self.root / "HDTF"

    def picture(self, stem: str) -> Path:
        """Square picture of a frame."""
        return self.base / "images" / f"{stem}.jpg"

    def landmarks(self, stem: str) -> Path:
        """68 lines `x y` in pixels of that picture."""
        return self.base / "landmarks" / f"{stem}.lms"

    def audio(self, stem: str) -> Path:
        """(8, 16, 29) speech logits."""
        return self.base / "audio_smooth" / f"{stem}.npy"

    def extractor(self) -> str | None:
        """Name of the speech extractor, where the data set says."""
        path = self.base / EXTRACTOR_FILE
        return path.read_text().strip() if path.is_file() else None


def parse_stem(stem: str, source: object) -> tuple[int, int]:
    """`12_345` -> (12, 345). Raises InputError naming the file it came from."""
    found = STEM.fullmatch(stem)
    if not found:
        raise InputError(f"{source}: '{stem}' is not of the form identity_frame, as in 1_25")
    return int(found[1]), int(found[2])


def read_counts(path: Path) -> dict[int, int]:
    """data.txt -> {identity: frame count}, by the first column where it is a number, else by line; or InputError."""
    counts = {}
    for number, line in enumerate(_lines(path), 1):
        parts = line.split()
        if not parts[-1].isdigit() or len(parts) < 2:
            raise InputError(f"{path}: line {number} is '{line}', expected '<identity> <frame count>'")
        counts[int(parts[0]) if parts[0].isdigit() else number] = int(parts[-1])
    return counts


def _lines(path: Path) -> list[str]:
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: cannot read this list of the data set ({reason})") from None
    if not found:
        raise InputError(f"{path}: the list is empty")
    return found


def reference_frames(frame: int, count: int) -> np.ndarray:
    """Frames 1 .. count-1 that may serve as reference of `frame`: at least 60 away, or else the farthest ones."""
    every = np.arange(1, count)
    allowed = every[(every < frame - REFERENCE_DISTANCE) | (every >= frame + REFERENCE_DISTANCE)]
    if len(allowed):
        return allowed
    distance = np.abs(every - frame)
    return every[distance == distance.max(initial=0)]


class TalkingFaces(Dataset):
    """Items of one list. Reference pictures are drawn anew for every item and epoch, from a seed."""

    def __init__(self, root: str | Path, name: str, size: int, mask_point: int, missing: str = "stop", seed: int = 0):
        """Read the list `name` (data_train.txt) below `root` and look for the files that it names.

        Raises InputError for missing files (`missing` = "stop") or when none is left ("skip").
        """
        self.layout = Layout(Path(root))
        self.size, self.mask_point, self.seed, self.epoch = size, mask_point, seed, 0
        listing = self.layout.root / name
        counts = read_counts(self.layout.base / "data.txt")
        self.stems = _present(self.layout, list(dict.fromkeys(_lines(listing))), listing, missing)
        self._present: dict[int, set[int]] = {}
        for stem in self.stems:
            identity, _frame = parse_stem(stem, listing)
            if identity not in counts:
                raise InputError(f"{self.layout.base / 'data.txt'}: identity {identity} of '{stem}' has no line")
        for path in (self.layout.base / "images").glob("*_*.jpg"):
            if found := STEM.fullmatch(path.stem):
                self._present.setdefault(int(found[1]), set()).add(int(found[2]))
        self._counts = counts
        self._warn_of_short_clips(listing)

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The item as in the spec's table; float32 tensors, pictures (size, size, 3) in [-1, 1]."""
        return self.item(self.stems[index], self.reference(index))

    def reference(self, index: int) -> str:
        """Stem of the reference picture of an item in this epoch."""
        identity, frame = parse_stem(self.stems[index], self.layout.root)
        present = self._present[identity]
        allowed = [k for k in reference_frames(frame, self._counts[identity]).tolist() if k in present]
        if not allowed:  # pictures are missing: the farthest one that is there
            far = max(abs(k - frame) for k in present)
            allowed = sorted(k for k in present if abs(k - frame) == far)
        random = np.random.default_rng((self.seed, self.epoch, index))
        return f"{identity}_{allowed[random.integers(len(allowed))]}"

    def item(self, stem: str, reference: str) -> dict[str, Any]:
        """The item of a stem with a given reference picture. Raises InputError for damaged files."""
        layout = self.layout
        picture = pictures.read_picture(layout.picture(stem))
        points = pictures.read_landmarks(layout.landmarks(stem))
        scale = len(picture) / self.size
        small = pictures.resize(picture, self.size)
        row = pictures.first_masked_row(points, self.mask_point, scale)
        other = pictures.resize(pictures.read_picture(layout.picture(reference)), self.size)
        return {
            "image": _tensor(small),
            "image_mask": _tensor(pictures.black_out(small, row)),
            "reference_img": _tensor(other),
            "landmarks": torch.from_numpy((points[list(pictures.KEPT)] / scale).astype(np.float32)),
            "audio_smooth": torch.from_numpy(read_audio_windows(layout.audio(stem))),
            "frame_id": parse_stem(stem, layout.root)[0],
            "image_path_": str(layout.picture(stem)),
            "audio_smooth_path_": str(layout.audio(stem)),
            "landmark_path_": str(layout.landmarks(stem)),
            "reference_path": str(layout.picture(reference)),
        }

    def _warn_of_short_clips(self, listing: Path) -> None:
        short = {
            identity
            for identity, frame in (parse_stem(stem, listing) for stem in self.stems)
            if not max(frame - REFERENCE_DISTANCE - 1, self._counts[identity] - frame - REFERENCE_DISTANCE) > 0
        }
        if short:
            some = ", ".join(map(str, sorted(short)[:_SHOWN]))
            LOG.warning("clips too short for a reference 60 frames away use the farthest frame (identity %s)", some)


class SamplingFaces(TalkingFaces):
    """Items for sampling: the reference is the person's first picture, and the mask of what is generated is added."""

    def reference(self, index: int) -> str:
        """Stem of the person's first picture that is there."""
        identity, _frame = parse_stem(self.stems[index], self.layout.root)
        return f"{identity}_{min(self._present[identity])}"

    def item(self, stem: str, reference: str) -> dict[str, Any]:
        """As in training, with `landmarks_all` (68, 2), `scaler` and `inference_mask` (size / 4, size / 4)."""
        found = super().item(stem, reference)
        points = pictures.read_landmarks(self.layout.landmarks(stem))
        side = len(pictures.read_picture(self.layout.picture(stem)))
        mask = pictures.keep_mask(points, side, side, self.size, self.layout.landmarks(stem))
        scale = side / self.size
        more = {
            "landmarks_all": torch.from_numpy((points / scale).astype(np.float32)),
            "scaler": scale,
            "inference_mask": torch.from_numpy(mask.copy()),
        }
        return {**found, **more}


def read_audio_windows(path: Path) -> np.ndarray:
    """(8, 16, 29) float32 of an .npy file. Raises InputError."""
    try:
        windows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path}: not an .npy file with speech windows, or a damaged one") from None
    if getattr(windows, "shape", None) != (WINDOWS, WINDOW, LOGITS) or windows.dtype.kind != "f":
        found = f"{list(windows.shape)} {windows.dtype}"
        raise InputError(f"{path}: expected speech windows [{WINDOWS}, {WINDOW}, {LOGITS}], found {found}")
    if not np.isfinite(windows).all():
        raise InputError(f"{path}: the speech windows hold NaN or infinite values; prepare this clip again")
    return windows.astype(np.float32)


def _tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures.to_float(picture))


def _present(layout: Layout, stems: list[str], listing: Path, missing: str) -> list[str]:
    """The stems with all three files; without `skip` every one must be complete."""
    lacking = [
        (stem, kind)
        for stem in stems
        for kind in ("picture", "landmarks", "audio")
        if not getattr(layout, kind)(stem).is_file()
    ]
    if lacking and missing == "stop":
        some = ", ".join(f"{stem} ({kind})" for stem, kind in lacking[:_SHOWN])
        more = " ..." if len(lacking) > _SHOWN else ""
        todo = "prepare the data again or set data.missing=skip"
        raise InputError(f"{listing}: {len(lacking)} files are missing: {some}{more}; {todo}")
    bad = {stem for stem, _kind in lacking}
    left = [stem for stem in stems if stem not in bad]
    if not left:
        raise InputError(f"{listing}: none of its {len(stems)} frames has picture, landmarks and audio")
    if bad:
        LOG.warning("%s: %d frames are left out, since files are missing", listing, len(bad))
    return left
