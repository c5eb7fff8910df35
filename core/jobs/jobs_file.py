"""A jobs file: many runs, a row each. What it says, and which are done. `workers` and `ray_engine` do them.

CSV: a heading with `source`, `audio` and `output`, and any options as further columns; an empty cell gives nothing.
YAML: a list of such entries, or `defaults` (options) and `jobs` (the list). Paths are relative to the jobs file.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from core.cli.control_flags import resolve_controls
from core.errors import DittoError, InputError
from core.settings.config import make_options, option_names

NEEDED = ("source", "audio", "output")
_FILES = ("ctrl", "more_kwargs")
_LOG_SUFFIX = ".done.jsonl"


@dataclass(frozen=True)
class BatchJob:
    """One run of a batch.

    Attributes:
        number: its place in the file, from 1.
        options: as `core.cli.control_flags.resolve_controls` takes them.
    """

    number: int
    source: str
    audio: str
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Changes when the job or its input files do."""
        files = [self.source, self.audio, *(str(self.options[name]) for name in _FILES if name in self.options)]
        states = [(path, Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in files]
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
        raise InputError(f"{path}: cannot read these jobs ({' '.join(str(error).split())})") from None
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
        reader = csv.DictReader(text.splitlines(), strict=True)
        missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"the heading lacks {', '.join(missing)}")
        return {}, [_row(row) for row in reader]
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


def _row(row: Mapping[str | None, str | None]) -> dict[str, Any]:
    """Cells of a CSV row that hold something; options as YAML would read them."""
    if None in row or None in row.values():
        raise ValueError("a row has another number of cells than the heading")
    cells = {name.strip(): cell.strip() for name, cell in row.items() if cell.strip()}
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
            near = difflib.get_close_matches(str(name), [*known, *NEEDED], n=1)
            raise InputError(f"{where}: unknown column '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    base = path.resolve().parent
    options.update({name: str(base / str(entry[name])) for name in _FILES if name in entry})
    try:
        make_options(None, **resolve_controls(options))
    except DittoError as error:
        raise InputError(f"{where}: {error}") from None
    return BatchJob(number, *(str(base / str(entry[name])) for name in NEEDED), options)


class DoneLog:
    """Which jobs of a file are done, kept beside it: a line of JSON for each."""

    def __init__(self, jobs_path: str | Path):
        self.path = Path(f"{jobs_path}{_LOG_SUFFIX}")

    def add(self, job: BatchJob, report: JobReport) -> None:
        """Note a job that went well."""
        line = json.dumps({"fingerprint": job.fingerprint(), **asdict(report)})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def pending(self, jobs: Iterable[BatchJob]) -> list[BatchJob]:
        """The jobs whose output is not there, or was made by another job or from other inputs."""
        made = self._fingerprints()
        return [job for job in jobs if not (Path(job.output).is_file() and self._print_of(job) in made)]

    def _fingerprints(self) -> set[str]:
        if not self.path.is_file():
            return set()
        found = set()
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.add(json.loads(line)["fingerprint"])
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a run that was killed
        return found

    @staticmethod
    def _print_of(job: BatchJob) -> str:
        try:
            return job.fingerprint()
        except OSError:
            return ""
