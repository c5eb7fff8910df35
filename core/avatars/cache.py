"""Registrations kept on disk, so that a source that was seen before need not be analysed again.

A file per registration below $DITTO_CACHE, else $XDG_CACHE_HOME/ditto-talkinghead, else ~/.cache/ditto-talkinghead.
Nothing here can make a run fail: what cannot be read is made again, what cannot be written is left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from core.avatars.record import AvatarRecord
from core.settings.options import CropOptions
from core.utils.whole_file import whole_file

LOG = logging.getLogger(__name__)
FORMAT = 2  # to be raised whenever the analysis gives other numbers
MAX_BYTES = 1 << 30  # of all entries; the ones not used for longest go first
_SUFFIX = ".avatar.npz"
_STALE = 24 * 3600  # seconds after which nobody writes to a temporary file any more


def cache_folder() -> Path:
    """Where registrations are kept."""
    own = os.environ.get("DITTO_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ditto-talkinghead"


def record_key(sources: Sequence[Path], pack: str, crop: CropOptions, **reading: Any) -> str:
    """Name of a registration: the content of the source's files, the pack, and how the source is read and cropped."""
    digest = hashlib.blake2b(digest_size=20)
    digest.update(json.dumps([FORMAT, pack, asdict(crop), reading], sort_keys=True).encode())
    for source in sources:
        digest.update(source.stat().st_size.to_bytes(8, "little"))
        with open(source, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


class AvatarCache:
    """The registrations in one folder."""

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES):
        """folder: None for the user's own, see `cache_folder`."""
        self._folder, self._max_bytes = folder, max_bytes

    def load(self, key: str) -> AvatarRecord | None:
        """The registration of that name, or None. A damaged one is removed."""
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                record = AvatarRecord(**{field.name: arrays[field.name] for field in fields(AvatarRecord)})
            os.utime(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # zip, header, key and shape errors come in many classes
            LOG.info("%s: damaged registration, made again (%s)", path, error)
            _remove(path)
            return None
        return record

    def store(self, key: str, record: AvatarRecord) -> None:
        """Keep a registration, as a whole or not at all, and make room for it."""
        path = self._path(key)
        try:
            with whole_file(path) as part, open(part, "wb") as file:
                np.savez(file, **{field.name: getattr(record, field.name) for field in fields(AvatarRecord)})
            self._evict(path)
        except OSError as error:
            LOG.info("%s: the registration is not kept (%s)", path.parent, error.strerror or error)

    def _path(self, key: str) -> Path:
        return (self._folder or cache_folder()) / f"{key}{_SUFFIX}"

    def _evict(self, newest: Path) -> None:
        """Remove what is too much, and what a process that was killed has left."""
        for part in (*newest.parent.glob(".*.part.npz"), *newest.parent.glob("*.part")):
            if time.time() - part.stat().st_mtime > _STALE:
                _remove(part)
        entries = [(path, path.stat()) for path in newest.parent.glob(f"*{_SUFFIX}")]
        total = sum(state.st_size for _, state in entries)
        for path, state in sorted(entries, key=lambda entry: (entry[0] == newest, entry[1].st_mtime_ns)):
            if total <= self._max_bytes:
                break
            _remove(path)
            total -= state.st_size


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        LOG.info("%s: cannot be removed (%s)", path, error.strerror)
