"""Where a live avatar goes besides a browser: an RTMP server, a file, or a virtual camera (OBS, video calls)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import numpy as np

from core.errors import InputError, OutputError
from core.motion import FPS
from live.muxer import LiveMuxer

_CAMERA = "/dev/video"


class Sink(Protocol):
    """Takes frames with their sound."""

    def write(self, image: np.ndarray | None, sound: np.ndarray) -> None:
        """(H, W, 3) uint8 RGB, None to repeat the last, and (640,) float32. Raises OutputError when it breaks off."""

    def close(self) -> None:
        """Finish."""


def open_sink(target: str, size: tuple[int, int]) -> Sink:
    """A sink for `rtmp://...`, a file `.mp4`, or a video device such as /dev/video10 (picture only, through ffmpeg).

    Raises InputError for anything else, OutputError when it cannot be opened.
    """
    if target.startswith(("rtmp://", "rtmps://")):
        return LiveMuxer(target, size, "flv")
    if target.startswith(_CAMERA):
        return CameraSink(target, size)
    if target.lower().endswith(".mp4"):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        return LiveMuxer(target, size)
    raise InputError(f"cannot stream to '{target}'; give rtmp://..., a file name ending in .mp4, or {_CAMERA}N")


class CameraSink:
    """A v4l2 loopback device."""

    def __init__(self, device: str, size: tuple[int, int]):
        if not Path(device).exists():
            raise OutputError(f"{device}: no such device; load v4l2loopback first (modprobe v4l2loopback)")
        if shutil.which("ffmpeg") is None:
            raise OutputError(f"{device}: ffmpeg is needed to write to a camera device; install it")
        height, width = size
        read = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-"]
        command = ["ffmpeg", "-loglevel", "error", *read, "-pix_fmt", "yuv420p", "-f", "v4l2", device]
        self._device = device
        self._last = np.zeros((height, width, 3), np.uint8)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def write(self, image: np.ndarray | None, sound: np.ndarray) -> None:
        """See `Sink`; the sound is dropped, cameras have none."""
        if image is not None:
            self._last = image
        try:
            self._process.stdin.write(self._last.tobytes())
        except OSError:
            reason = self._process.stderr.read().decode(errors="replace").strip()
            raise OutputError(f"{self._device}: ffmpeg stopped ({reason})") from None

    def close(self) -> None:
        """Finish."""
        self._process.stdin.close()
        self._process.wait(5)
