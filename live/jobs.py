"""Videos made in the background: a bounded queue, one at a time, kept on disk and taken up again after a restart."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from core.errors import DittoError
from live.faults import Fault, full, missing, unusable
from live.metrics import Metrics
from live.settings import Settings
from live.state import Shelf, read_json, write_json

LOG = logging.getLogger(__name__)
NOTE, SPEECH, SOURCE, VIDEO = "job.json", "speech", "source", "video.mp4"
ATTEMPTS = 2  # a job that was cut off so often is lost: it may have been what stopped the server
_NICE = 10  # live sessions go first
_FAILED = "the job failed; see the server's log"


class Jobs:
    """The queue. All methods may be called from any thread."""

    def __init__(self, sdk: Any, settings: Settings, metrics: Metrics):
        self._sdk, self._settings, self._metrics = sdk, settings, metrics
        self.shelf = Shelf(settings.state / "jobs")
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._current: str | None = None
        self._progress = (0, 0)
        self._stop_current = self._stopped = False
        self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        """Take up what an earlier server left, and begin."""
        self._recover()
        self._worker.start()

    def check_room(self) -> None:
        """Raises Fault when the queue is full."""
        if len(self._waiting) >= self._settings.limits.waiting_jobs:
            raise full(f"{len(self._waiting)} jobs are waiting")

    def put(self, name: str) -> dict[str, Any]:
        """Queue an entry of the shelf that holds a note and its files. Raises Fault."""
        with self._changed:
            try:
                self.check_room()
            except Fault:
                self.shelf.remove(name)
                raise
            self._waiting.append(name)
            self._changed.notify_all()
        return self.get(name)

    def get(self, name: str) -> dict[str, Any]:
        """What a client may know of a job. Raises Fault."""
        note = self._note(name)
        with self._changed:
            seen = {"id": name, "status": note["status"], "created": note["created"]}
            if name == self._current:
                seen |= {"status": "running", "frames_done": self._progress[0], "frames": self._progress[1]}
            elif name in self._waiting:
                seen["position"] = self._waiting.index(name)
        return seen | {key: note[key] for key in ("message", "frames", "seconds", "elapsed") if key in note}

    def video(self, name: str) -> Path:
        """The finished video. Raises Fault."""
        status = self._note(name)["status"]
        folder = self.shelf.find(name)
        if status != "done" or folder is None:
            raise Fault(409, "not_done", f"there is no video: the job is {status}")
        return folder / VIDEO

    def remove(self, name: str) -> None:
        """Cancel a job and forget it, with its files. Raises Fault."""
        self._note(name)
        with self._changed:
            if name in self._waiting:
                self._waiting.remove(name)
            if name == self._current:
                self._stop_current = True
                self._changed.wait_for(lambda: self._current != name, timeout=30)
        self.shelf.remove(name)

    def close(self) -> None:
        """Stop; what was not finished is taken up by the next server."""
        with self._changed:
            self._stopped = self._stop_current = True
            self._changed.notify_all()
        self._worker.join(10)

    def _note(self, name: str) -> dict[str, Any]:
        folder = self.shelf.find(name)
        note = folder and read_json(folder / NOTE)
        if not note:
            raise missing("job")
        return note

    def _recover(self) -> None:
        """Jobs of a server before this one: queued again, or reported as lost."""
        for name in self.shelf.names():
            folder = self.shelf.find(name)
            note = read_json(folder / NOTE)
            if note is None or note.get("status") not in ("queued", "running"):
                continue
            if note["attempts"] >= ATTEMPTS or not (folder / SPEECH).is_file():
                write_json(folder / NOTE, note | {"status": "lost", "message": "the server stopped during the job"})
            else:
                self._waiting.append(name)

    def _work(self) -> None:
        """Body of the worker."""
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # of this thread and those it starts
        while True:
            with self._changed:
                self._metrics.waiting_jobs.set(len(self._waiting))
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped:
                    return
                self._current, self._progress = self._waiting.popleft(), (0, 0)
                self._stop_current = False
            try:
                self._run(self._current)
            except OSError as error:
                LOG.error("job %s: %s", self._current, error)
            with self._changed:
                self._current = None
                self._changed.notify_all()
            self._forget_old()

    def _run(self, name: str) -> None:
        folder = self.shelf.find(name)
        if folder is None:
            return
        note = read_json(folder / NOTE) or {}
        note |= {"status": "running", "attempts": note.get("attempts", 0) + 1}
        write_json(folder / NOTE, note)
        source = folder / SOURCE
        try:
            result = self._sdk.run(source, folder / SPEECH, folder / VIDEO, self._report, **note["options"])
        except DittoError as error:
            if self._stop_current:
                if self._stopped:  # not the job's fault
                    write_json(folder / NOTE, note | {"status": "queued", "attempts": note["attempts"] - 1})
                return
            LOG.info("job %s: %s", name, error)
            fault = unusable(error, source, folder / SPEECH, folder)
            ended = {"status": "failed", "message": str(fault) if fault.status == 422 else _FAILED}
        except Exception:  # a fault of ours must not end the worker
            LOG.exception("job %s", name)
            ended = {"status": "failed", "message": _FAILED}
        else:
            elapsed = round(result.elapsed, 2)
            ended = {"status": "done", "frames": result.frames, "seconds": result.seconds, "elapsed": elapsed}
        self._metrics.jobs.labels(ended["status"]).inc()
        write_json(folder / NOTE, note | ended | {"ended": time.time()})

    def _report(self, done: int, total: int) -> None:
        if self._stop_current:
            raise _Stopped
        self._progress = (done, total)

    def _forget_old(self) -> None:
        ended = [name for name in self.shelf.names() if name not in self._waiting]
        for name in ended[: max(0, len(ended) - self._settings.limits.kept_jobs)]:
            self.shelf.remove(name)


class _Stopped(Exception):
    """The job was cancelled, or the server stops."""
