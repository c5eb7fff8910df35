"""Any frame of a source video at any time, without holding the video in memory. Spec section 4 (memory)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np

from core.errors import InputError
from core.media.alpha_frames import AlphaFrames
from core.media.video_reader import RgbConverter, decoded, open_video

_PIECE_BYTES = 192 << 20  # of decoded frames in their own format; two pieces are held
_PIECE_FRAMES = (8, 128)
_PIECES = 2
_PICTURES = 24  # RGB pictures held: more than the render stages are apart


class VideoFrames(Sequence[np.ndarray]):
    """Output frames of a video as (H, W, 3) uint8 RGB, read-only. May be shared by threads.

    Frames are decoded piece by piece: a piece is a run of neighbouring frames, so that playing backwards decodes
    forwards from the key frame before a piece only once per piece.
    """

    def __init__(self, path: str | Path, pts: np.ndarray, shown: np.ndarray, max_size: int):
        """Open lazily.

        Args:
            pts: (m,) int64, increasing timestamps of the frames that are shown, as `VideoReader.shown` gives them.
            shown: (n,) which of them each output frame shows.
            max_size: longest side.
        """
        self._path, self._pts, self._shown = Path(path), pts, shown
        self._convert = RgbConverter(path, max_size)
        self._lock = threading.Lock()
        self._pictures: OrderedDict[int, np.ndarray] = OrderedDict()
        self._pieces: OrderedDict[int, list[av.VideoFrame]] = OrderedDict()
        self._piece_frames = 0
        self._open = ExitStack()
        self._decoder: Iterator[av.VideoFrame] | None = None
        self._next = -1  # number of the frame that the decoder gives next; -1: unknown

    def __len__(self) -> int:
        return len(self._shown)

    def __getitem__(self, index: int) -> np.ndarray:
        """One picture. Raises InputError when the file cannot be read any more."""
        number = int(self._shown[index])
        with self._lock:
            picture = self._pictures.get(number)
            if picture is None:
                picture = self._convert(self._raw(number))
                picture.flags.writeable = False
                self._pictures[number] = picture
                if len(self._pictures) > _PICTURES:
                    self._pictures.popitem(last=False)
            self._pictures.move_to_end(number)
            return picture

    def alpha(self) -> AlphaFrames:
        """The opacity of the frames. Raises InputError when the video has none."""
        if self.alpha_of(0) is None:
            raise InputError(f"{self._path}: the video has no transparency; leave out --alpha")
        return AlphaFrames(self)

    def alpha_of(self, index: int) -> np.ndarray | None:
        """(H, W) uint8 opacity of one picture, or None."""
        with self._lock:
            return self._convert.alpha(self._raw(int(self._shown[index])))

    def close(self) -> None:
        """Let go of the file; the next access opens it again."""
        with self._lock:
            self._close()

    def _raw(self, number: int) -> av.VideoFrame:
        if not self._piece_frames:
            self._piece_frames = self._measure()
        piece, offset = divmod(number, self._piece_frames)
        if piece not in self._pieces:
            if len(self._pieces) == _PIECES:
                self._pieces.popitem(last=False)
            self._pieces[piece] = self._load(piece * self._piece_frames)
        self._pieces.move_to_end(piece)
        return self._pieces[piece][offset]

    def _measure(self) -> int:
        """Frames in a piece."""
        self._restart()
        planes = self._collect(self._pts[:1])[0].planes
        self._close()
        low, high = _PIECE_FRAMES
        return min(max(_PIECE_BYTES // sum(plane.buffer_size for plane in planes), low), high)

    def _load(self, first: int) -> list[av.VideoFrame]:
        """The piece that begins with frame `first`: read on, else from the key frame before, else from the start."""
        wanted = self._pts[first : first + self._piece_frames]
        ways = [lambda: self._seek(int(wanted[0])), self._restart]
        if self._next == first:
            ways.insert(0, lambda: None)
        for way in ways:
            self._next = -1
            try:
                way()
                frames = self._collect(wanted)
            except (av.FFmpegError, ValueError):
                continue
            if len(frames) == len(wanted):
                self._next = first + len(wanted)
                return frames
        self._close()
        raise InputError(f"{self._path}: the video can no longer be read; was it changed or moved?")

    def _collect(self, wanted: np.ndarray) -> list[av.VideoFrame]:
        """The frames with these timestamps, fewer when one does not come."""
        frames = []
        for frame in self._decoder:
            if frame.pts is None or frame.is_corrupt or frame.pts < wanted[len(frames)]:
                continue
            if frame.pts > wanted[len(frames)]:
                break
            frames.append(frame)
            if len(frames) == len(wanted):
                break
        return frames

    def _seek(self, pts: int) -> None:
        if self._decoder is None:
            self._restart()
        self._container.seek(pts, stream=self._stream)
        self._decoder = decoded(self._container, self._stream)

    def _restart(self) -> None:
        self._close()
        self._container, self._stream = self._open.enter_context(open_video(self._path))
        self._decoder = decoded(self._container, self._stream)

    def _close(self) -> None:
        self._open.close()
        self._decoder, self._next = None, -1
