"""Binary messages of the WebSocket: a header of 12 bytes, then a picture, its sound, or a piece of mp4."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from core.streaming.conversation import Moment
from live.muxer import LiveMuxer
from live.pcm import to_pcm

HEADER = struct.Struct("<BBHII")  # kind, flags, reserved 0, frame number, milliseconds
PICTURE, SOUND, MP4 = 1, 2, 3
SPEAKING = 1  # flag
_AVC = b"avcC"  # the box that describes the pictures: version, then three bytes of profile


def pack(kind: int, moment: Moment, content: bytes) -> bytes:
    """One message."""
    flags = SPEAKING if moment.speaking else 0
    number = moment.index & 0xFFFFFFFF
    return HEADER.pack(kind, flags, 0, number, round(1000 * moment.seconds) & 0xFFFFFFFF) + content


class JpegFrames:
    """A moment becomes its sound and, unless it was dropped, its picture."""

    def __init__(self, quality: int):
        self._options = [cv2.IMWRITE_JPEG_QUALITY, quality]

    def encode(self, moment: Moment) -> list[bytes]:
        """The messages of a moment."""
        messages = [pack(SOUND, moment, to_pcm(moment.sound))]
        if moment.image is not None:
            bgr = np.ascontiguousarray(moment.image[:, :, ::-1])
            messages.append(pack(PICTURE, moment, cv2.imencode(".jpg", bgr, self._options)[1].tobytes()))
        return messages

    def close(self) -> None:
        """Nothing is held."""


class Mp4Frames:
    """Moments become fragments of one mp4, after a message that says how to decode them."""

    def __init__(self, size: tuple[int, int]):
        self._pieces: list[bytes] = []
        self._described = False
        self._muxer = LiveMuxer(self, size)

    def write(self, data: bytes) -> int:
        """Called by the muxer."""
        self._pieces.append(bytes(data))
        return len(data)

    def encode(self, moment: Moment) -> list[bytes | dict[str, Any]]:
        """The messages of a moment: what the muxer has let go."""
        self._muxer.write(moment.image, moment.sound)
        data, self._pieces = b"".join(self._pieces), []
        messages: list[bytes | dict[str, Any]] = []
        at = data.find(_AVC)
        if not self._described and at >= 0:
            self._described = True
            profile = data[at + len(_AVC) + 1 : at + len(_AVC) + 4].hex()
            messages.append({"type": "mp4", "mime": f'video/mp4; codecs="avc1.{profile}, mp4a.40.2"'})
        return [*messages, pack(MP4, moment, data)] if data else messages

    def close(self) -> None:
        """Free the encoders."""
        self._muxer.close()


def make_frames(form: str, size: tuple[int, int], quality: int) -> JpegFrames | Mp4Frames:
    """The encoder of a session; its methods block."""
    return Mp4Frames(size) if form == "mp4" else JpegFrames(quality)
