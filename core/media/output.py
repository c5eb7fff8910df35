"""The writer that suits the name of the output."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from core.media.encoders import choose_encoder
from core.media.output_place import is_picture_pattern
from core.media.picture_writer import PictureWriter
from core.media.video_writer import VideoWriter


def open_output(
    path: str | Path,
    size: tuple[int, int],
    rate: Fraction,
    audio: str | Path,
    crf: int = 18,
    tag: bool = True,
    encoder: str = "auto",
    alpha: bool = False,
    cut_sound: bool = False,
) -> VideoWriter | PictureWriter:
    """A VideoWriter, or for names such as frame_%05d.png a PictureWriter, which has no sound. See VideoWriter."""
    if is_picture_pattern(path):
        return PictureWriter(path, size, alpha)
    return VideoWriter(
        path, size, rate, crf, audio=audio, tag=tag, alpha=alpha, cut_sound=cut_sound,
        encoder="libx264" if alpha else choose_encoder(encoder),
    )  # fmt: skip
