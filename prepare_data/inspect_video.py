"""A look at a source video before work is put into it (spec training.md D-40)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import av

from core.errors import InputError
from core.media.probe import check_readable, is_cover
from core.motion import FPS

ENOUGH = 0.96  # share of the announced frames that must be decodable
SPARE = 3  # frames that may be missing besides


@dataclass(frozen=True)
class VideoFacts:
    """What a container says: frames expected at 25 fps (0: unknown) and remarks for the report."""

    path: Path
    expected: int
    notes: list[str] = field(default_factory=list)

    def check_decoded(self, frames: int) -> None:
        """Raise InputError when far fewer frames came out than the file announces."""
        if frames < ENOUGH * self.expected - SPARE:
            raise InputError(f"only {frames} of about {self.expected} frames can be decoded; the file is damaged")


def inspect(path: str | Path) -> VideoFacts:
    """Read a video's header. Raises InputError when it is missing, no video, or has no sound or no frames."""
    path = check_readable(path, "video")
    try:
        with av.open(str(path)) as container:
            streams = [stream for stream in container.streams.video if not is_cover(stream)]
            if not streams:
                raise InputError("has no video in it")
            if not container.streams.audio:
                raise InputError("has no sound in it; training needs the speech")
            rate = streams[0].average_rate
            frames = streams[0].frames
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"cannot read this video ({error})") from None
    notes = []
    if rate and abs(float(rate) - FPS) > 0.01:
        notes.append(f"{float(rate):.5g} fps, converted to {FPS}")
    expected = round(frames * FPS / float(rate)) if rate and frames else 0
    return VideoFacts(path, expected, notes)
