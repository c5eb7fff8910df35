"""Reading a source video frame by frame. Spec section 4."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from core.errors import InputError
from core.media.images import resize_to_fit
from core.media.probe import check_readable, is_cover

# without these flags swscale darkens the picture by about one level
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class VideoReader:
    """Iterates over the frames of a video as (H, W, 3) uint8 RGB, sides even and at most `max_size`.

    fps: frames are taken or repeated by their timestamps so that this rate results; None keeps every frame as it is.
    Only one frame is held at a time; each iteration decodes anew. Raises InputError for a missing, foreign or damaged
    file and for one without frames.
    """

    def __init__(self, path: str | Path, max_size: int = 1920, fps: int | None = 25):
        self.path = check_readable(path, "video")
        self.max_size = max_size
        self.fps = fps
        self._reformatter = VideoReformatter()

    def __iter__(self) -> Iterator[np.ndarray]:
        count = 0
        for frame in self._chosen():
            count += 1
            yield frame
        if not count:
            raise InputError(f"{self.path}: the video has no frames")

    def _chosen(self) -> Iterator[np.ndarray]:
        """Frames at the wanted rate: output k shows the last frame that starts at or before k / fps + half a frame."""
        if self.fps is None:
            yield from (self._picture(frame) for frame in self._decode())
            return
        due, origin, shown = 0, None, None
        for frame in self._decode():
            origin = frame.time if origin is None else origin
            start = frame.time - origin
            while shown is not None and Fraction(2 * due + 1, 2 * self.fps) < start:
                yield shown
                due += 1
            shown = self._picture(frame)
            end = start + self._frame_seconds
        while shown is not None and Fraction(2 * due + 1, 2 * self.fps) <= end + 1e-6:
            yield shown
            due += 1

    def _decode(self) -> Iterator[av.VideoFrame]:
        try:
            with av.open(str(self.path)) as container:
                streams = [stream for stream in container.streams.video if not is_cover(stream)]
                if not streams:
                    raise InputError(f"{self.path}: has no video in it")
                self._frame_seconds = float(1 / (streams[0].average_rate or 25))
                yield from container.decode(streams[0])
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{self.path}: cannot read this video ({error})") from None

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        rgb = self._reformatter.reformat(frame, format="rgb24", interpolation=_EXACT).to_ndarray()
        turns = round(frame.rotation / 90) % 4
        return resize_to_fit(np.ascontiguousarray(np.rot90(rgb, turns)), self.max_size, self.path)
