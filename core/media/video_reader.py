"""Reading a source video from its first frame to its last. Spec section 4."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from core.errors import InputError
from core.media.images import check_fit
from core.media.probe import check_readable, is_cover, open_container
from core.motion import FPS

LOG = logging.getLogger(__name__)
# Without these flags swscale darkens the picture by about one level; with them 1080p takes 10 ms instead of 1.
# As numbers, for PyAV 17, the last one for Python 3.10, has no names for two: SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT.
_EXACT = Interpolation.BILINEAR.value | 0x40000 | 0x2000
_ENOUGH = 0.5  # share of a damaged video that must be readable
_ALL_BUT = 1.0  # seconds by which a file may overstate its length
_MAX_GAP = 60  # seconds; a longer step between two frames is a wrong timestamp


class RgbConverter:
    """Decoded frames -> upright (H, W, 3) uint8 RGB of one size. For one thread at a time."""

    def __init__(self, path: str | Path, max_size: int):
        """max_size: longest side, see `fit_size`; the first frame decides the size of all."""
        self._path, self._max_size = path, max_size
        self.size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, exact: bool = True) -> np.ndarray:
        """exact: rounded and with interpolated colours; otherwise about one level too dark, which finders ignore."""
        how = _EXACT if exact else Interpolation.BILINEAR
        return self._upright(self._reformatter.reformat(frame, format="rgb24", interpolation=how, threads=1), frame)

    def alpha(self, frame: av.VideoFrame) -> np.ndarray | None:
        """(H, W) uint8 opacity of a decoded frame, or None when its format has none."""
        if not any(component.is_alpha for component in frame.format.components):
            return None
        rgba = self._reformatter.reformat(frame, format="rgba", interpolation=Interpolation.BILINEAR, threads=1)
        return np.ascontiguousarray(self._upright(rgba, frame)[..., 3])

    def _upright(self, converted: av.VideoFrame, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, channels) uint8 of the size of all frames."""
        picture = np.ascontiguousarray(np.rot90(converted.to_ndarray(), round(frame.rotation / 90) % 4))
        if self.size is None:
            self.size = check_fit(*picture.shape[:2], self._max_size, self._path)
        return picture if picture.shape[:2] == self.size else cv2.resize(picture, self.size[::-1])


@dataclass(frozen=True)
class ShownFrame:
    """A decoded frame, its timestamp in units of its stream, and how many output frames in a row show it (>= 1)."""

    raw: av.VideoFrame
    pts: int
    times: int


class VideoReader:
    """Iterates over the frames of a video as (H, W, 3) uint8 RGB, sides even and at most `max_size`.

    fps: frames are taken or repeated by their timestamps so that this rate results; None keeps every frame as it is.
    Only one frame is held at a time; each iteration decodes anew. Raises InputError for a missing or foreign file, one
    without frames and one that is damaged before its middle; of one damaged later the good part is used, with a
    warning.
    """

    def __init__(self, path: str | Path, max_size: int = 1920, fps: Fraction | int | None = FPS):
        self.path = check_readable(path, "video")
        self.max_size = max_size
        self.fps = fps

    def __iter__(self) -> Iterator[np.ndarray]:
        convert = RgbConverter(self.path, self.max_size)
        for frame in self.shown():
            picture = convert(frame.raw)
            for _ in range(frame.times):
                yield picture

    def pictures(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Timestamp, times that it is shown, and about one level too dark picture of each frame of `shown`."""
        convert = RgbConverter(self.path, self.max_size)
        for frame in self.shown():
            yield frame.pts, frame.times, convert(frame.raw, exact=False)

    def shown(self) -> Iterator[ShownFrame]:
        """The frames that appear at the wanted rate.

        Output k shows the last frame that starts at or before k / fps + half a frame.
        """
        due, position, last = 0, Fraction(0), None
        for frame in self._decode():
            if last is not None:
                step = (frame.pts - last.pts) * frame.time_base
                if step <= 0:
                    continue  # a frame that comes late has no place any more
                position += step if step < _MAX_GAP else self._frame_seconds
                until = due + 1 if self.fps is None else math.ceil(position * self.fps - Fraction(1, 2))
                if until > due:
                    yield ShownFrame(last, last.pts, until - due)
                    due = until
            last = frame
        if last is None:
            raise InputError(f"{self.path}: the video has no frames")
        end = (position + self._frame_seconds) * (self.fps or 0)
        times = 1 if self.fps is None else math.floor(end + Fraction(1, 2) + Fraction(1, 10**4)) - due
        if times > 0 or not due:
            yield ShownFrame(last, last.pts, max(times, 1))

    def _decode(self) -> Iterator[av.VideoFrame]:
        """All intact frames that have a timestamp."""
        with open_video(self.path) as (container, stream):
            self._frame_seconds = 1 / Fraction(stream.average_rate or 25)
            length, begin, reached, problem = _length(container, stream), None, 0.0, None
            try:
                for frame in decoded(container, stream):
                    if frame.pts is None:
                        raise InputError(
                            f"{self.path}: the video has no timestamps; repair it with: ffmpeg -i IN -c copy OUT.mkv"
                        )
                    if frame.is_corrupt:
                        if begin is None:
                            continue  # a recording that was joined in the middle
                        problem = "broken pictures"
                        break
                    begin = frame.time if begin is None else begin
                    reached = max(reached, frame.time - begin + float(self._frame_seconds))
                    yield frame
            except (av.FFmpegError, ValueError) as error:
                problem = getattr(error, "strerror", None) or str(error)
            self._judge(problem, reached, length, bool(stream.duration))

    def _judge(self, problem: str | None, reached: float, length: float | None, certain: bool) -> None:
        """Says what is missing at the end. `length` and `reached` in seconds; only a `certain` length can be short."""
        short = certain and length is not None and reached < min(length - _ALL_BUT, 0.9 * length)
        if not reached or (problem is None and not short):
            if problem:
                raise InputError(f"{self.path}: cannot read this video ({problem})")
            return
        where = f"{self.path}: damaged or cut off at {reached:.1f} s" + (f" of {length:.1f} s" if length else "")
        where += f" ({problem or 'the file ends'})"
        if length is None or reached < _ENOUGH * length:
            raise InputError(f"{where}; copy or download the video again")
        LOG.warning("%s; only the part before is used", where)


@contextmanager
def open_video(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The opened file and its first moving picture. Raises InputError."""
    try:
        container = open_container(path)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{path}: cannot read this video ({getattr(error, 'strerror', None) or error})") from None
    with container:
        streams = [stream for stream in container.streams.video if not is_cover(stream)]
        if not streams:
            raise InputError(f"{path}: has no video in it")
        yield container, streams[0]


def decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """The frames from where the container stands, with opacity where there is one.

    ffmpeg's own decoders of VP8 and VP9 leave that out.
    """
    library = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    has_alpha = "1" in (stream.metadata.get(key) for key in ("alpha_mode", "ALPHA_MODE"))
    if not has_alpha or library not in av.codecs_available:
        yield from container.decode(stream)
        return
    decoder = av.CodecContext.create(library, "r")
    for packet in container.demux(stream):
        yield from decoder.decode(packet)


def _length(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Seconds that the file says the video lasts."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None
