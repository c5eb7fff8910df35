"""Width and height of a picture file from its header, before anything is decoded."""

from __future__ import annotations

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """(width, height) of a jpeg, png or webp file; None when the header does not say."""
    reader = {"jpeg": _jpeg, "png": _png, "webp": _webp}.get(kind)
    return reader(data) if reader else None


def _png(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _webp(data: bytes) -> tuple[int, int] | None:
    form = data[12:16]
    if len(data) < 30:
        return None
    if form == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if form == b"VP8 ":
        return tuple(int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    if form == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """The largest of all frame headers, so that a second one cannot hide a bomb."""
    at, largest = 2, None
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return largest
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _START_OF_FRAME and at + 9 <= len(data):
            size = int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
            largest = max(largest or size, size, key=lambda found: found[0] * found[1])
        if marker == 0xDA:
            return largest
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return largest
