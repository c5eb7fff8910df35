"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path`, with its suffix, to write to: it becomes `path` when the block ends well, else it is gone.

    Makes missing folders. Raises OSError, also where `path` is no file: root would replace a device itself.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.ENOTSUP, "is not a file that can be replaced", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def second_name(source: Path, target: Path) -> None:
    """Let `target` be `source`: another name of the same file, or a copy where the file system has no links.

    Raises OSError; what `target` was before is then untouched.
    """
    with whole_file(target) as part:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
