"""What kind of file is this? Decided from the content, never from the name. Spec section 4."""

import re
import stat
from pathlib import Path

import av

from core.errors import InputError

_NO_VIDEO = re.compile("tty|image2|.*_pipe")  # what ffmpeg takes any text or single picture for
_ISO_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


def image_kind(head: bytes) -> str | None:
    """Name of the picture format that the first bytes of a file announce, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] in (b"II*\x00", b"MM\x00*"):
        return "tiff"
    if head[:2] == b"BM" and head[6:10] == b"\x00\x00\x00\x00":
        return "bmp"
    if head[4:8] == b"ftyp" and head[8:12] in _ISO_PICTURES:
        return "avif or heic"
    return None


def check_readable(path: str | Path, what: str) -> Path:
    """The path, when it is a file that can be opened and holds something; InputError otherwise."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a directory; give the {what} file itself")
        if stat.S_ISFIFO(path.stat().st_mode):  # opening one would wait, and it can be read only once
            raise InputError(f"{path}: is a pipe; save the {what} to a file first")
        with open(path, "rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: the {what} file is empty")
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what} file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot open the {what} file ({reason})") from None
    return path


def read_head(path: str | Path, size: int = 32) -> bytes:
    """First bytes of a file; InputError when it cannot be read."""
    with open(check_readable(path, "source"), "rb") as file:
        return file.read(size)


def is_image(path: str | Path) -> bool:
    """True for still pictures (an animated GIF counts as one). InputError when the file is missing or unreadable."""
    return image_kind(read_head(path)) is not None


def is_video(path: str | Path) -> bool:
    """True for files with a moving picture. InputError when the file is missing or unreadable."""
    if is_image(path):
        return False
    try:
        with open_container(path) as container:
            found = any(not is_cover(stream) for stream in container.streams.video)
            return found and not _NO_VIDEO.fullmatch(container.format.name)
    except (av.FFmpegError, ValueError):
        return False


def open_container(path: str | Path) -> av.container.InputContainer:
    """A file as ffmpeg sees it. Raises av.FFmpegError or ValueError when it sees nothing in it.

    "file:" and the list of protocols: neither a name such as 12:30.mp4 nor a play list may lead elsewhere.
    """
    return av.open(f"file:{path}", options={"protocol_whitelist": "file"})


def is_cover(stream: av.VideoStream) -> bool:
    """True for the cover picture of a sound file, which containers present as a video stream."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)
