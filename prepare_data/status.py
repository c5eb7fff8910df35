"""What is known about each clip: one JSON file per clip beside `data_info.json` (spec training.md D-07, D-18, D-19)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import InputError, OutputError
from prepare_data.data_info import Clip
from prepare_data.files import open_npy, read_json, stamp, write_json

FORMAT = 1


def status_folder(data_info: str | Path) -> Path:
    """Where the clips of this `data_info.json` have their records."""
    path = Path(data_info)
    return path.with_name(f"{path.stem}.status")


class ClipStatus:
    """The record of one clip; every change is on the disk before the next step begins.

    `steps`: step -> {"signature", "options", "outputs": {path: size}, "notes", "seconds"};
    `failed`: {"step", "reason", "signature"}, the last one "" when another try may succeed.
    """

    def __init__(self, folder: str | Path, clip: Clip):
        self._path = Path(folder) / f"{clip.key}.json"
        content: dict[str, Any] = {}
        if self._path.is_file():
            try:
                content = read_json(self._path, "record of a clip")
            except InputError:
                content = {}  # the clip is looked at as if it were new
        known = isinstance(content, dict) and content.get("format") == FORMAT
        self.steps: dict[str, dict[str, Any]] = content.get("steps", {}) if known else {}
        self.failed: dict[str, str] | None = content.get("failed") if known else None
        self._clip = clip

    def finished(self, step: str, signature: str) -> bool:
        """Whether the step was done with this signature and its outputs are still as they were left."""
        record = self.steps.get(step)
        return record is not None and record["signature"] == signature and outputs_intact(record["outputs"])

    def changes(self, step: str, options: dict[str, Any]) -> str:
        """What is different from the options of the record, in words; "" without a record or a difference."""
        before = self.steps.get(step, {}).get("options")
        if before is None:
            return ""
        names = [name for name in sorted({*before, *options}) if before.get(name) != options.get(name)]
        return ", ".join(f"{name} {before.get(name)} -> {options.get(name)}" for name in names)

    def done(self, step: str, record: dict[str, Any]) -> None:
        """Keep the record of a finished step."""
        self.steps[step] = record
        self.failed = None
        self._write()

    def fail(self, step: str, reason: str, signature: str = "") -> None:
        """Remember why the clip cannot be used; `signature` when the same step would fail again."""
        self.steps.pop(step, None)
        self.failed = {"step": step, "reason": reason, "signature": signature}
        self._write()

    def _write(self) -> None:
        content = {"format": FORMAT, "clip": self._clip.origin, "steps": self.steps, "failed": self.failed}
        write_json(self._path, content)


def outputs_intact(sizes: dict[str, int]) -> bool:
    """Whether all files are there with their sizes."""
    try:
        return all(stamp(path)[0] == size for path, size in sizes.items())
    except InputError:
        return False


def usable_outputs(paths: Sequence[str]) -> bool:
    """Whether files of unknown origin can be taken for finished: there, not empty, .npy files whole."""
    try:
        for path in paths:
            if not stamp(path)[0]:
                return False
            if path.endswith(".npy"):
                open_npy(path)
    except InputError:
        return False
    return True


@contextmanager
def only_run(folder: Path, part: str) -> Iterator[None]:
    """Refuse to start while another run works on the same `part` of the clips. InputError; OutputError for the disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / f"lock.{part}", "w")
    except OSError as error:
        raise OutputError(f"{folder}: cannot write there ({error.strerror})") from None
    with handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows: two runs at a time are the user's care
        except OSError:
            raise InputError(f"{folder}: another preparation works on these clips; wait for it") from None
        handle.write(str(os.getpid()))
        handle.flush()
        yield
