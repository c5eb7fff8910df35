"""What a worker of a batch does: it loads the models once and keeps registered sources."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from core.errors import DittoError, one_line
from core.jobs.jobs_file import BatchJob, JobReport
from core.settings.control_files import resolve_controls

LOG = logging.getLogger(__name__)
KEPT_SOURCES = 2  # registered sources a worker keeps; jobs are ordered by source


class JobRunner:
    """Runs jobs one after another on one loaded pack."""

    def __init__(self, load: Mapping[str, Any]):
        """`load`: arguments of StreamSDK. Raises PackError."""
        import cv2

        from core.sdk import StreamSDK

        cv2.setNumThreads(1)
        self._sdk = StreamSDK(**load)
        self._avatars: OrderedDict[Any, Any] = OrderedDict()

    def run(self, job: BatchJob) -> JobReport:
        """Do a job. Never raises for what is wrong with it: the report says so."""
        start = time.perf_counter()
        try:
            options = resolve_controls(dict(job.options))
            avatar = self._avatar(job.source, self._sdk.options(**options))
            result = self._sdk.run(avatar, job.audio, job.output, **options)
        except DittoError as error:
            return JobReport(job.number, job.output, elapsed=time.perf_counter() - start, error=one_line(error))
        except Exception as error:  # one job must not take the others with it
            LOG.exception("job %d", job.number)
            said = f"{type(error).__name__}: {one_line(error)}"
            return JobReport(job.number, job.output, elapsed=time.perf_counter() - start, error=said)
        return JobReport(job.number, job.output, result.frames, time.perf_counter() - start)

    def _avatar(self, source: str, options: Any) -> Any:
        """The registered source, from an earlier job if there was one."""
        key = (source, options.source, options.crop, options.writer.fps)
        if key not in self._avatars:
            self._avatars[key] = self._sdk.register(source, options)
        self._avatars.move_to_end(key)
        while len(self._avatars) > KEPT_SOURCES:
            self._avatars.popitem(last=False)
        return self._avatars[key]
