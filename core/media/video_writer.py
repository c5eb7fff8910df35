"""Writing a video with its sound in one pass. Spec section 15."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from core.errors import OutputError
from core.media.audio_track import AudioTrack
from core.media.encoders import add_opaque, add_transparent
from core.media.output_place import make_place, remove_folders, temporary
from core.media.probe import open_container
from core.motion import FPS

SYNTHETIC_TAG = "Synthetic video made with ditto-talkinghead (AI-generated)"
_FORMATS = {".mov": "mov", ".webm": "webm"}  # by suffix; all else is an mp4


class VideoWriter:
    """H.264 (yuv420p) and AAC in an mp4 that can be played while it loads; with opacity ProRes 4444 or VP9 and Opus.

    Frames stream into a temporary file beside `path`, each with the sound up to its time, so memory stays flat;
    close() renames it. size: (height, width) of the frames. audio: the sound file that is heard in the video, whole
    and with its own rate and channels where AAC allows (see AudioTrack), or None. Sizes that are odd are filled up by
    repeating the last row or column. tag: say in the metadata that the video is synthetic. encoder: one that works, see
    `choose_encoder`. alpha: frames have opacity; `path` ends in .mov or .webm. cut_sound: the sound ends with the
    frames.
    All errors of the disk come out as OutputError, after the leftovers have been removed. A sound file that cannot be
    read is an InputError.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: Fraction | int = FPS,
        crf: int = 18,
        preset: str | None = None,
        audio: str | Path | None = None,
        tag: bool = True,
        encoder: str = "libx264",
        alpha: bool = False,
        cut_sound: bool = False,
    ):
        self.path = Path(path)
        self.frames = 0
        self._size, self._alpha, self._cut_sound = size, alpha, cut_sound
        self._created = make_place(self.path, alpha)
        self._temporary = temporary(self.path)
        self._container: av.container.OutputContainer | None = None
        self._audio: AudioTrack | None = None
        with self._guard():
            kind = _FORMATS.get(self.path.suffix.lower(), "mp4")
            options = {} if kind == "webm" else {"movflags": "faststart"}
            self._container = av.open(f"file:{self._temporary}", "w", format=kind, options=options)
            if tag:
                self._container.metadata["comment"] = SYNTHETIC_TAG
            if alpha:
                self._video = add_transparent(self._container, size, Fraction(fps), crf)
            else:
                self._video = add_opaque(self._container, size, Fraction(fps), crf, encoder, preset)
            codec = "libopus" if kind == "webm" else "aac"
            self._audio = None if audio is None else AudioTrack(self._container, audio, codec)
        self._reformatter = VideoReformatter()

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame, (H, W, 3) uint8 RGB, with opacity (H, W, 4).

        Raises OutputError when the disk refuses, InputError for damaged sound.
        """
        shape = (*self._size, 4 if self._alpha else 3)
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, the video is {shape} uint8")
        if self._container is None:
            raise ValueError(f"{self.path}: write() after close() or abort()")
        height, width = self._size
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        context = self._video.codec_context
        picture = self._reformatter.reformat(
            # without a copy: fresh megabytes for every frame cost more than the conversion
            av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame), format="rgba" if self._alpha else "rgb24"),
            format=context.pix_fmt,
            dst_colorspace=context.colorspace,
            dst_color_range=context.color_range,
        )
        picture.pts = self.frames
        with self._guard():
            self._container.mux(self._video.encode(picture))
            if self._audio is not None:
                self._audio.write_until((self.frames + 1) / self._video.codec_context.framerate)
        self.frames += 1

    def close(self) -> None:
        """Writes what is left and moves the file into place. Raises OutputError, also for a video without frames."""
        if self._container is None:
            return
        if not self.frames:
            self.abort()
            raise OutputError(f"{self.path}: no frames to write")
        with self._guard():
            context = self._video.codec_context
            self._container.mux(self._video.encode(None))
            if self._audio is not None:
                self._audio.finish(self.frames / context.framerate if self._cut_sound else None)
            container, self._container = self._container, None
            container.close()
            self._verify()
            os.replace(self._temporary, self.path)
            self._created = []

    def remove(self) -> None:
        """Removes what close() has put into place."""
        self.path.unlink(missing_ok=True)

    def abort(self) -> None:
        """Gives up: removes the temporary file and the directories made for it. No-op after close()."""
        container, self._container, self._audio = self._container, None, None
        if container is not None:
            try:
                container.close()
            except (OSError, ValueError):
                pass  # the disk is full or the header was never written; the file goes away below
        self._temporary.unlink(missing_ok=True)
        remove_folders(self._created)

    def _verify(self) -> None:
        """A full disk may show only in what is missing from the file."""
        try:
            with open_container(self._temporary) as container:
                stream = container.streams.video[0]
                # a webm does not say how many there are
                frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
        except (av.FFmpegError, IndexError):
            frames = 0
        if frames != self.frames:
            raise OutputError(f"{self.path}: only {frames} of {self.frames} frames reached the disk; is it full?")

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Any error inside removes the leftovers; those of the disk become OutputError."""
        try:
            yield
        except OSError as error:
            self.abort()
            raise OutputError(f"{self.path}: cannot write the video ({error.strerror or error})") from error
        except BaseException:
            self.abort()
            raise
