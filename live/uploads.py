"""Files of clients: written under names of ours, told apart by content, measured before anything large is decoded."""

from __future__ import annotations

from pathlib import Path

import av
from starlette.datastructures import UploadFile

from core.errors import InputError
from core.media.audio import open_audio
from core.media.probe import image_kind, is_cover
from live.faults import Fault
from live.picture_size import picture_size
from live.settings import Limits

_PIECE = 1 << 20
_PICTURES = ("jpeg", "png", "webp")
_EBML = b"\x1a\x45\xdf\xa3"


async def save(upload: UploadFile, path: Path) -> None:
    """Write an upload to `path`; its own name is not looked at. The size was limited on its way in."""
    with open(path, "wb") as file:
        while piece := await upload.read(_PIECE):
            file.write(piece)


def check_source(path: Path, limits: Limits) -> str:
    """ "picture" or "video". Raises Fault for other files, and for those that are too large or too long."""
    data = path.read_bytes()
    kind = image_kind(data[:32])
    if kind in _PICTURES:
        size = picture_size(data, kind)
        if size is None:
            raise Fault(422, "unusable", f"the upload is damaged (no size in its {kind} header)")
        _check_pixels(*size, limits)
        return "picture"
    if kind is not None or not _is_movie(data[:16]):
        raise Fault(415, "unknown_format", "the upload is neither a JPEG, PNG or WebP picture nor an MP4 or WebM video")
    _check_video(path, limits)
    return "video"


def check_speech(path: Path, limits: Limits) -> float:
    """Seconds of sound in a file, counted and not believed. Raises Fault."""
    with open(path, "rb") as file:
        head = file.read(16)
    if not (_is_movie(head) or _is_sound(head)):
        raise Fault(415, "unknown_format", "the speech is no WAV, FLAC, Ogg, MP3, MP4 or WebM file")
    try:
        rate, blocks = open_audio(path)
        samples = 0
        for block in blocks:
            samples += len(block)
            if samples > limits.speech_seconds * rate:
                raise Fault(413, "too_long", f"the speech is longer than {limits.speech_seconds:g} s")
    except InputError as error:
        raise Fault(422, "unusable", str(error).replace(str(path), "the upload")) from None
    return samples / rate


def _is_movie(head: bytes) -> bool:
    """ffmpeg is not asked about anything else: it would follow play lists to other files."""
    return head[4:8] == b"ftyp" or head.startswith(_EBML)


def _is_sound(head: bytes) -> bool:
    wav = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    mp3 = head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    return wav or mp3 or head[:4] in (b"fLaC", b"OggS")


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.picture_pixels:
        most = limits.picture_pixels // 1_000_000
        raise Fault(413, "too_large", f"the picture has {width}x{height} pixels; at most {most} million are taken")


def _check_video(path: Path, limits: Limits) -> None:
    try:
        with av.open(str(path)) as container:
            streams = [stream for stream in container.streams.video if not is_cover(stream)]
            if not streams:
                raise Fault(422, "unusable", "the upload has no moving picture in it")
            _check_pixels(streams[0].codec_context.width, streams[0].codec_context.height, limits)
            seconds = (container.duration or 0) / av.time_base
    except (av.FFmpegError, ValueError):
        raise Fault(422, "unusable", "the upload is a damaged video") from None
    if seconds > limits.video_seconds:
        raise Fault(413, "too_long", f"the video is longer than {limits.video_seconds:g} s")
