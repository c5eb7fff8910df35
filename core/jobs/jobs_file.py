"""A jobs file: many runs, a row each. What it says, and which are done. `workers` and `ray_engine` do them.

CSV: a heading with `source`, `audio` and `output`, and any options as further columns; an empty cell gives nothing.
YAML: a list of such entries, or `defaults` (options) and `jobs` (the list). Paths are relative to the jobs file.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from core.errors import DittoError, InputError, one_line
from core.settings.control_files import resolve_controls
from core.settings.csv_rows import csv_rows
from core.settings.names import unknown_name
from core.settings.run_options import make_options, option_names

LOG = logging.getLogger(__name__)
NEEDED = ("source", "audio", "output")
_FILES = ("ctrl", "more_kwargs")
_LOG_SUFFIX = ".done.jsonl"


@dataclass(frozen=True)
class BatchJob:
    """One run of a batch.

    Attributes:
        number: its place in the file, from 1.
        options: as `core.settings.control_files.resolve_controls` takes them.
    """

    number: int
    source: str
    audio: str
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Changes when the job or its input files do; "" when an input cannot be looked at."""
        files = [self.source, self.audio, *(str(self.options[name]) for name in _FILES if name in self.options)]
        try:
            states = [(path, state.st_size, state.st_mtime_ns) for path in files for state in [os.stat(path)]]
        except OSError:
            return ""
        text = json.dumps([self.output, states, dict(self.options)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class JobReport:
    """How a job went: `error` is empty when it went well."""

    number: int
    output: str
    frames: int = 0
    elapsed: float = 0.0
    error: str = ""


def read_jobs(path: str | Path, common: Mapping[str, Any] | None = None) -> list[BatchJob]:
    """Read a jobs file; `common` are options of all jobs, which those of a job go before.

    Raises InputError, with the file and the entry, for missing or unknown columns, bad values, and two jobs that would
    write the same file. Whether sources and recordings are there is found out job by job.
    """
    path = Path(path)
    try:
        defaults, entries = _entries(path)
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        raise InputError(f"{path}: cannot read these jobs ({one_line(error)})") from None
    if not entries:
        raise InputError(f"{path}: holds no jobs")
    jobs = [_job(path, i, {**defaults, **entry}, common or {}) for i, entry in enumerate(entries, 1)]
    seen: dict[str, int] = {}
    for job in jobs:
        if job.output in seen:
            raise InputError(f"{path}: jobs {seen[job.output]} and {job.number} both write {job.output}")
        seen[job.output] = job.number
    return jobs


def _entries(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Defaults and entries as the file has them."""
    suffix, text = path.suffix.lower(), path.read_text(encoding="utf-8-sig")
    if suffix == ".csv":
        return {}, [_as_yaml(row) for row in csv_rows(text, NEEDED)]
    if suffix not in (".yaml", ".yml"):
        raise ValueError("use .csv or .yaml")
    content, defaults = yaml.safe_load(text), {}
    if isinstance(content, dict):
        if not set(content) <= {"defaults", "jobs"}:
            raise ValueError("the file is a list of jobs, or holds 'defaults' and 'jobs'")
        defaults, content = content.get("defaults") or {}, content.get("jobs")
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in [defaults, *content]):
        raise ValueError("jobs are a list of entries such as {source: a.png, audio: a.wav, output: a.mp4}")
    return defaults, content


def _as_yaml(cells: Mapping[str, str]) -> dict[str, Any]:
    """A row whose options are what YAML would read."""
    texts = (*NEEDED, *_FILES, "emo")
    return {name: cell if name in texts else yaml.safe_load(cell) for name, cell in cells.items()}


def _job(path: Path, number: int, entry: Mapping[str, Any], common: Mapping[str, Any]) -> BatchJob:
    where = f"{path}: job {number}"
    missing = [name for name in NEEDED if not entry.get(name)]
    if missing:
        raise InputError(f"{where} has no {', '.join(missing)}")
    options = {**common, **{name: value for name, value in entry.items() if name not in NEEDED}}
    known = {*option_names(), *_FILES} - {"ctrl_info", "ch_info"}
    for name in options:
        if name not in known:
            raise InputError(f"{where}: {unknown_name('column', name, [*known, *NEEDED])}")
    base = path.resolve().parent
    options.update({name: str(base / str(entry[name])) for name in _FILES if name in entry})
    try:
        make_options(None, **resolve_controls(options))
    except DittoError as error:
        raise InputError(f"{where}: {error}") from None
    return BatchJob(number, *(os.path.normpath(base / str(entry[name])) for name in NEEDED), options)


class DoneLog:
    """Which jobs of a file are done, kept beside it: a line of JSON for each.

    Jobs are known by their inputs as they were when this object was made: what changes while the batch runs is to be
    done again.
    """

    def __init__(self, jobs_path: str | Path, jobs: Iterable[BatchJob]):
        self.path = Path(f"{jobs_path}{_LOG_SUFFIX}")
        self._jobs = list(jobs)
        self._prints = {job.number: job.fingerprint() for job in self._jobs}

    def add(self, report: JobReport) -> None:
        """Note a job that went well. A note that cannot be written is left out, with a warning."""
        if not self._prints[report.number]:
            return
        line = json.dumps({"fingerprint": self._prints[report.number], **asdict(report)})
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            LOG.warning("%s: cannot be written (%s); --resume will do job %d again", self.path, error, report.number)

    def pending(self) -> list[BatchJob]:
        """The jobs whose output is not there, or was made by another job or from other inputs."""
        made = self._made()
        return [job for job in self._jobs if not (Path(job.output).is_file() and self._prints[job.number] in made)]

    def _made(self) -> set[str]:
        if not self.path.is_file():
            return set()
        found = set()
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.add(json.loads(line)["fingerprint"])
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a run that was killed
        return found
