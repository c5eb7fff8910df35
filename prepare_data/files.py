"""Outputs that are there whole or not at all, and the JSON and .npy files of the preparation."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError, OutputError


class Staging:
    """Files are written beside their targets and moved into place together, when the block ends without an exception.

    What an earlier, killed run left of the same targets is removed first. The disk's errors become OutputError.
    """

    def __init__(self) -> None:
        self._moves: dict[Path, Path] = {}
        self._folders: list[Path] = []

    def __enter__(self) -> Staging:
        return self

    def __call__(self, target: str | Path) -> Path:
        """Where to write what shall become `target`."""
        target = Path(target)
        folder = target.parent / f".prepare-{target.name}"
        with disk_errors(target):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self._folders.append(folder)
        self._moves[target] = folder / target.name
        return self._moves[target]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        try:
            if kind is None:
                for target, made in self._moves.items():
                    with disk_errors(target):
                        os.replace(made, target)
        finally:
            for folder in self._folders:
                shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {', '.join(map(str, self._moves))} ({error.strerror or error})") from error


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turns an OSError within the block into an OutputError naming `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot write ({error.strerror or error})") from error


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file, atomically."""
    with Staging() as stage:
        stage(path).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, what: str) -> Any:
    """Content of a JSON file; InputError naming `what` it should be when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot read this {what} ({error})") from None


def open_npy(path: str | Path) -> np.ndarray:
    """A .npy file as a read-only memory map. InputError when it is missing, cut off or holds no plain numbers."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such feature file") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a usable .npy file ({error})") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds no array of numbers")
    return array


def digest(content: Any) -> str:
    """Hex digest of what JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def stamp(path: str | Path) -> list[int]:
    """[size, modification time in ns] of a file; InputError when it is missing."""
    try:
        info = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return [info.st_size, info.st_mtime_ns]
