"""Reading a still picture. Spec section 4."""

import re
import zlib
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from core.media.probe import check_readable, image_kind

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends entropy-coded data


def fit_size(height: int, width: int, max_size: int) -> tuple[int, int]:
    """Height and width after the size rule: longer side at most `max_size` (<= 0: no limit), both sides even.

    A result of 0 means that the picture is too thin to be used.
    """
    longer = max(height, width)
    if 0 < max_size < longer:
        if height > width:
            height, width = max_size, round(width * max_size / height)
        else:
            height, width = round(height * max_size / width), max_size
    return height - height % 2, width - width % 2


def check_fit(height: int, width: int, max_size: int, path: str | Path) -> tuple[int, int]:
    """`fit_size`, or InputError naming `path` when nothing would be left."""
    size = fit_size(height, width, max_size)
    if not all(size):
        raise InputError(f"{path}: {width}x{height} pixels with --max_size {max_size} leaves nothing of the picture")
    return size


def resize_to_fit(rgb: np.ndarray, max_size: int, path: str | Path) -> np.ndarray:
    """(H, W, 3) or (H, W) uint8 -> the same after the size rule. InputError naming `path` when nothing is left."""
    height, width = check_fit(*rgb.shape[:2], max_size, path)
    if (height, width) == rgb.shape[:2]:
        return rgb
    return cv2.resize(rgb, (width, height))


def read_image(path: str | Path, max_size: int = 1920) -> np.ndarray:
    """Picture file -> (H, W, 3) uint8 RGB: 8 bits, alpha dropped, upright by EXIF, sides even and at most `max_size`.

    Raises InputError for a missing, foreign, truncated or undecodable file.
    """
    path = check_readable(path, "picture")
    data = path.read_bytes()
    kind = image_kind(data[:32])
    if kind is None:
        raise InputError(f"{path}: not a picture (use JPEG, PNG, WebP, BMP or TIFF)")
    if _is_damaged(data, kind):
        raise InputError(f"{path}: the picture is cut off or damaged (incomplete {kind} file); copy it again")
    bgr = _decode(data)
    if bgr is None:
        raise InputError(f"{path}: cannot decode this {kind} picture; save it as PNG or JPEG, with 8 or 16 bits")
    return resize_to_fit(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), max_size, path)


def read_alpha(path: str | Path, max_size: int = 1920) -> np.ndarray | None:
    """Opacity of a picture that `read_image` can read, (H, W) uint8 of the same size, or None when it has none."""
    picture = _decode(Path(path).read_bytes(), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        return None
    alpha = picture[..., 3]
    return resize_to_fit(alpha if alpha.dtype == np.uint8 else (alpha // 257).astype(np.uint8), max_size, path)


def _decode(data: bytes, how: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """BGR picture, or None."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        return None


def _is_damaged(data: bytes, kind: str) -> bool:
    """True when the file ends early or is broken in a way that decoders would fill with grey without a word."""
    if kind == "jpeg":
        return not _jpeg_complete(data)
    if kind == "png":
        return not _png_intact(data)
    if kind == "webp":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if kind == "gif":
        return b";" not in data[-16:]
    return False


def _jpeg_complete(data: bytes) -> bool:
    """Walks the segments: an end marker within an embedded thumbnail does not count."""
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            return False
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:  # start of scan: entropy-coded data follows the header
            found = _JPEG_MARKER.search(data, at)
            if found is None:
                return False
            at = found.start()
        if data[at : at + 2] == b"\xff\xd9":
            return True
    return False


def _png_intact(data: bytes) -> bool:
    """Walks the chunks up to the end chunk and compares their checksums."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if zlib.crc32(data[at + 4 : end]).to_bytes(4, "big") != data[end : end + 4]:
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False
