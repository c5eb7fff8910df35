"""Folders with one entry per id: an entry appears as a whole or not at all, and ids of clients are never paths."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ID = re.compile("[0-9a-f]{32}")
_PART = ".part-"


class Shelf:
    """A folder of entries, each a folder named by a random id."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for left in folder.glob(f"{_PART}*"):  # of a server that was killed
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def fresh(self) -> Iterator[tuple[str, Path]]:
        """A new id and the folder to fill; it becomes the entry when the block ends well, and goes otherwise."""
        part = Path(tempfile.mkdtemp(prefix=_PART, dir=self._folder))
        name = secrets.token_hex(16)
        try:
            yield name, part
            os.replace(part, self._folder / name)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def find(self, name: str) -> Path | None:
        """Folder of an entry; None for anything that is no id of one."""
        if not _ID.fullmatch(name):
            return None
        path = self._folder / name
        return path if path.is_dir() else None

    def remove(self, name: str) -> bool:
        """Whether there was such an entry."""
        path = self.find(name)
        if path is None:
            return False
        shutil.rmtree(path, ignore_errors=True)
        return True

    def names(self) -> list[str]:
        """Ids, the oldest first."""
        found = [entry for entry in self._folder.iterdir() if _ID.fullmatch(entry.name)]
        return [entry.name for entry in sorted(found, key=lambda entry: entry.stat().st_mtime_ns)]


def write_json(path: Path, content: Any) -> None:
    """As a whole or not at all. Raises OSError when the entry has been removed, which `whole_file` would make again."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content), encoding="utf-8")
    os.replace(part, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """A dictionary, or None when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
