"""Writing a video with its sound in one pass. Spec section 15."""

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from core.errors import InputError, OutputError
from core.media.audio_track import AudioTrack

SYNTHETIC_TAG = "Synthetic video made with ditto-talkinghead (AI-generated)"
_SUFFIXES = (".mp4", ".m4v", ".mov", "")
_HD_LINES = 720  # from here on players expect BT.709, below it BT.601


def check_output(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Makes sure that a video can be written to `path`, before any work is done. Leaves nothing behind.

    Raises OutputError for a directory, a foreign suffix or a place that cannot be written, and InputError when `path`
    is one of the `inputs`.
    """
    path = Path(path)
    for source in inputs:
        if path.exists() and os.path.exists(source) and os.path.samefile(path, source):
            raise InputError(f"{path}: the output would overwrite an input; choose another name")
    _remove_folders(_make_place(path))


def _make_place(path: Path) -> list[Path]:
    """Creates the missing directories above `path` and returns them, outermost first. Raises OutputError."""
    if path.suffix.lower() not in _SUFFIXES:
        raise OutputError(f"{path}: cannot write '{path.suffix}' files; name the output .mp4")
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; give the name of the output file, as in {path / 'result.mp4'}")
    created = [folder for folder in reversed(path.parents) if not folder.exists()]
    probe = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        _remove_folders(created)
        raise OutputError(f"{path}: cannot write there ({error.strerror}); choose another --output_path") from None
    return created


class VideoWriter:
    """H.264 (yuv420p) and AAC in an mp4 that can be played while it loads.

    Frames stream into a temporary file beside `path`, each with the sound up to its time, so memory stays flat;
    close() renames it. size: (height, width) of the frames. audio: the sound file that is heard in the video, whole
    and with its own rate and channels where AAC allows (see AudioTrack), or None. Sizes that are odd are filled up by
    repeating the last row or column. tag: say in the metadata that the video is synthetic.
    All errors of the disk come out as OutputError, after the leftovers have been removed. A sound file that cannot be
    read is an InputError.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: int = 25,
        crf: int = 18,
        preset: str = "veryfast",
        audio: str | Path | None = None,
        tag: bool = True,
    ):
        self.path = Path(path)
        self.frames = 0
        self._size = size
        self._created = _make_place(self.path)
        self._temporary = _temporary(self.path)
        self._container: av.container.OutputContainer | None = None
        self._audio: AudioTrack | None = None
        with self._guard():
            self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "faststart"})
            if tag:
                self._container.metadata["comment"] = SYNTHETIC_TAG
            self._video = _add_video(self._container, size, fps, crf, preset)
            self._audio = None if audio is None else AudioTrack(self._container, audio)
        self._reformatter = VideoReformatter()

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame, (H, W, 3) uint8 RGB. Raises OutputError when the disk refuses, InputError for damaged sound."""
        if frame.shape != (*self._size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, the video is {(*self._size, 3)} uint8")
        if self._container is None:
            raise ValueError(f"{self.path}: write() after close() or abort()")
        height, width = self._size
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        context = self._video.codec_context
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format="yuv420p",
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
            self._container.mux(self._video.encode(None))
            if self._audio is not None:
                self._audio.finish()
            container, self._container = self._container, None
            container.close()
            self._verify()
            os.replace(self._temporary, self.path)
            self._created = []

    def abort(self) -> None:
        """Gives up: removes the temporary file and the directories made for it. No-op after close()."""
        container, self._container, self._audio = self._container, None, None
        if container is not None:
            try:
                container.close()
            except (OSError, ValueError):
                pass  # the disk is full or the header was never written; the file goes away below
        self._temporary.unlink(missing_ok=True)
        _remove_folders(self._created)

    def _verify(self) -> None:
        """A full disk may show only in what is missing from the file."""
        try:
            with av.open(str(self._temporary)) as container:
                frames = container.streams.video[0].frames
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


def _add_video(
    container: av.container.OutputContainer, size: tuple[int, int], fps: int, crf: int, preset: str
) -> av.VideoStream:
    height, width = (side + side % 2 for side in size)
    stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": preset})
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    context = stream.codec_context
    context.thread_count = 1  # the renderer needs the other cores, and more threads do not lower the cost per frame
    context.color_range = av.video.reformatter.ColorRange.MPEG
    space = av.video.reformatter.Colorspace
    context.colorspace = space.ITU709 if height >= _HD_LINES else space.ITU601
    context.color_primaries = context.color_trc = 1  # BT.709, whose primaries are those of sRGB
    return stream


def _temporary(path: Path) -> Path:
    return path.parent / f".ditto-{uuid.uuid4().hex[:12]}.tmp"


def _remove_folders(folders: list[Path]) -> None:
    """Removes directories that are empty, innermost first."""
    for folder in reversed(folders):
        try:
            folder.rmdir()
        except OSError:
            return
