"""Where a result goes: names that can be written, and the folders above them."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path

from core.errors import InputError, OutputError

_OPAQUE = (".mp4", ".m4v", ".mov", "")
_TRANSPARENT = (".mov", ".webm")
_PICTURES = re.compile(r"[^%]*%0?\d*d[^%]*\.png", re.IGNORECASE)


def is_picture_pattern(path: str | Path) -> bool:
    """Whether the name stands for numbered pictures, as frame_%05d.png does."""
    return _PICTURES.fullmatch(Path(path).name) is not None


def check_output(path: str | Path, inputs: Iterable[str | Path] = (), alpha: bool = False) -> None:
    """Makes sure that a video can be written to `path`, before any work is done. Leaves nothing behind.

    Raises OutputError for a directory, a foreign suffix or a place that cannot be written, and InputError when `path`
    is one of the `inputs`. alpha: the video has opacity, which an mp4 cannot hold.
    """
    path = Path(path)
    _check_name(path)
    if alpha and not is_picture_pattern(path) and path.suffix.lower() not in _TRANSPARENT:
        raise OutputError(
            f"{path}: cannot hold transparency; name the output .mov (ProRes 4444), .webm (VP9) or frame_%05d.png"
        )
    for source in inputs:
        if path.exists() and os.path.exists(source) and os.path.samefile(path, source):
            raise InputError(f"{path}: the output would overwrite an input; choose another name")
        if is_picture_pattern(path) and path.parent.exists() and _holds(source, path.parent):
            raise InputError(f"{path}: the output would mix with the pictures of an input; choose another folder")
    remove_folders(make_place(path, alpha))


def make_place(path: Path, alpha: bool = False) -> list[Path]:
    """Creates the missing directories above `path` and returns them, outermost first. Raises OutputError."""
    known = path.suffix.lower() in (_TRANSPARENT if alpha else _OPAQUE)
    if not known and not is_picture_pattern(path):
        raise OutputError(f"{path}: cannot write '{path.suffix}' files; name the output .mp4")
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; give the name of the output file, as in {path / 'result.mp4'}")
    device = path.absolute().parent == Path("/dev")  # /dev/stdout may stand for a file
    if path.exists() and (device or not path.is_file()):  # root would replace the device itself
        raise OutputError(f"{path}: is a device or pipe; give the name of a file")
    created = [folder for folder in reversed(path.parents) if not folder.exists()]
    probe = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        remove_folders(created)
        raise OutputError(f"{path}: cannot write there ({error.strerror}); choose another --output_path") from None
    return created


def _check_name(path: Path) -> None:
    """Raises OutputError for a name that the file system cannot look up."""
    try:
        path.exists()
    except (OSError, ValueError) as error:  # too long, not allowed to look, a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot write there ({reason}); choose another --output_path") from None


def temporary(path: Path) -> Path:
    """A new hidden name beside `path`."""
    return path.parent / f".ditto-{uuid.uuid4().hex[:12]}.tmp"


def remove_folders(folders: list[Path]) -> None:
    """Removes directories that are empty, innermost first."""
    for folder in reversed(folders):
        try:
            folder.rmdir()
        except OSError:
            return


def _holds(source: str | Path, folder: Path) -> bool:
    """Whether the pictures of a source, a folder or pattern, are in `folder`."""
    source = Path(source)
    own = source if source.is_dir() else source.parent if "%" in source.name else None
    return own is not None and own.exists() and own.samefile(folder)
