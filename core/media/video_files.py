"""The videos of a folder, by name: for programs that take folders. What they really are shows when they are read."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


def videos_in(folder: Path) -> list[Path]:
    """Files of a folder, not of those below it, that are named like videos; sorted. Raises InputError for none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"{folder}: no videos in this folder ({', '.join(SUFFIXES)})")
    return found
