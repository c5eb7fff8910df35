"""The files of a source: one picture, a video, or a sequence of pictures (spec pipeline.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from core.avatars.record import AvatarRecord
from core.errors import InputError
from core.media import (
    PictureFrames,
    PictureSequence,
    VideoFrames,
    VideoReader,
    is_image,
    is_video,
    read_alpha,
    read_image,
    sequence_files,
)
from core.settings.options import SourceOptions


@dataclass(frozen=True)
class Clip:
    """An opened source.

    Attributes:
        files: all its files.
        picture: (H, W, 3) uint8 RGB of a still picture, else None.
        reader: what decodes the frames of anything else in order.
        reading: what decides which frames these are, for the name of the registration.
    """

    path: Path
    files: Sequence[Path]
    picture: np.ndarray | None
    reader: VideoReader | PictureSequence | None
    max_size: int
    reading: dict[str, Any]

    def frames(self, record: AvatarRecord) -> Sequence[np.ndarray]:
        """The output frames of a registration, (H, W, 3) uint8 RGB."""
        if self.picture is not None:
            return [self.picture]
        if isinstance(self.reader, VideoReader):
            return VideoFrames(self.path, record.pts, record.shown, self.max_size)
        return PictureFrames(self.files[: len(record.shown)], self.max_size)

    def alpha(self, frames: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Opacity of these frames, (H, W) uint8. Raises InputError when the source has none."""
        if self.picture is None:
            return frames.alpha()
        alpha = read_alpha(self.path, self.max_size)
        if alpha is None:
            raise InputError(f"{self.path}: the picture has no transparency; leave out --alpha")
        return [alpha]


def open_clip(path: Path, source: SourceOptions, rate: Fraction) -> Clip:
    """Find out what the source is. Raises InputError for anything else, and for options that do not fit it."""
    files, reading = sequence_files(path), {"max_size": source.max_size}
    if files is not None:
        reader = PictureSequence(files, source.max_size)
        return Clip(path, files, None, reader, source.max_size, {**reading, "sequence": True})
    if is_image(path):
        _check_picture(path, source)
        picture = read_image(path, source.max_size)
        return Clip(path, [path], picture, None, source.max_size, reading)
    if not is_video(path):
        raise InputError(
            f"{path}: not a picture or video that can be read; use JPEG, PNG, WebP, MP4, MOV, MKV or WebM, "
            "or a folder of pictures"
        )
    reader = VideoReader(path, source.max_size, rate if source.resample else None)
    reading |= {"rate": str(rate) if source.resample else "as it is"}
    return Clip(path, [path], None, reader, source.max_size, reading)


def _check_picture(path: Path, source: SourceOptions) -> None:
    """Raises InputError for options that only mean something for a moving source."""
    if source.motion_frames:
        raise InputError(
            f"{path}: is a picture, which has no motion to preserve; give a video, or leave out --motion_frames "
            "(inference_video.py and inference.py take pictures)"
        )
    if source.loop == "once":
        raise InputError(f"{path}: is a picture, which has no end; --loop once is for videos")
    if source.reference_frame > 0:
        raise InputError(f"{path}: is a picture, and --reference_frame is {source.reference_frame}; leave it out")
