"""Pictures and sound -> H.264 and AAC as they come: fragmented mp4 for browsers and files, flv for RTMP."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from core.errors import OutputError
from core.media import SYNTHETIC_TAG
from core.motion import FPS, SAMPLE_RATE

_FRAGMENTS = {
    # without delay_moov the start-up of AAC shifts the pictures; frag_every_frame would lose some
    "movflags": "empty_moov+default_base_moof+delay_moov",
    "frag_duration": "40000",  # microseconds, one frame
    "max_interleave_delta": "40000",  # pictures do not wait for the longer frames of AAC
}
_LOW_DELAY = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "forced-idr": "1"}
KEY_EVERY = 2 * FPS  # frames


class LiveMuxer:
    """Encodes one stream. `target`: a URL, a path, or an object with write(bytes); `form`: "mp4" or "flv"."""

    def __init__(self, target: Any, size: tuple[int, int], form: str = "mp4", encoder: str = "libx264"):
        """size: (height, width), even. Raises OutputError when the target cannot be opened."""
        height, width = size
        self._name = target if isinstance(target, str) else "the stream"
        self._last: av.VideoFrame | None = None
        self._frames = self._samples = 0
        self._reformatter = VideoReformatter()
        options = _FRAGMENTS if form == "mp4" else {"flvflags": "no_duration_filesize"}
        try:
            self._container = av.open(target, "w", format=form, options=options)
            self._container.metadata["comment"] = SYNTHETIC_TAG
            self._video = self._container.add_stream(encoder, rate=FPS, options=_LOW_DELAY)
            self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
            self._video.codec_context.time_base = Fraction(1, FPS)
            self._video.codec_context.gop_size = KEY_EVERY
            self._audio = self._container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            self._container.start_encoding()  # connects
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self._name}: cannot stream there ({error})") from None

    def write(self, image: np.ndarray | None, sound: np.ndarray) -> None:
        """One frame, (H, W, 3) uint8 RGB or None to repeat the last, and its (640,) float32 sound.

        Raises OutputError when the target refuses.
        """
        if image is not None:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            self._last = self._reformatter.reformat(frame, format="yuv420p")
        heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None], np.float32), format="fltp", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = SAMPLE_RATE, self._samples, Fraction(1, SAMPLE_RATE)
        self._samples += len(sound)
        try:
            if self._last is not None:
                self._last.pts, self._last.time_base = self._frames, Fraction(1, FPS)
                self._container.mux(self._video.encode(self._last))
            self._container.mux(self._audio.encode(heard))
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self._name}: the stream broke off ({error})") from None
        self._frames += 1

    def close(self) -> None:
        """Send what is left. Raises OutputError."""
        try:
            for stream in (self._video, self._audio):
                self._container.mux(stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self._name}: the stream could not be closed ({error})") from None
