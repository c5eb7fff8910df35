"""All wanted steps for one clip: skip what is finished, stop at the first failure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.errors import DittoError, InputError, PackError
from core.media.probe import check_readable
from prepare_data.data_info import SOURCE, Clip
from prepare_data.files import digest, stamp
from prepare_data.options import WorkOrder
from prepare_data.status import ClipStatus, usable_outputs
from prepare_data.steps import STEPS, ClipWork, Step, Tools

LOG = logging.getLogger(__name__)


@dataclass
class ClipResult:
    """What came of a clip.

    Attributes:
        done, skipped, adopted: names of steps; adopted are those whose files something else had made before.
        failed: step and reason, or None.
        notes: remarks for the report. seconds: spent on it.
    """

    clip: str
    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    failed: tuple[str, str] | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps are behind it."""
        return len(self.done) + len(self.skipped) + len(self.adopted)


def run_clip(clip: Clip, order: WorkOrder, tools: Tools, progress: Callable[[], None] = lambda: None) -> ClipResult:
    """Run the steps of `order` for one clip; `progress` is called after each.

    A clip that cannot be used ends in `failed`. PackError is raised: it would hit every clip.
    """
    result = ClipResult(clip.origin)
    status = ClipStatus(order.status_dir, clip)
    work = ClipWork(clip, tools)
    name = mark = ""
    try:
        for name in order.steps:
            mark, options = signature(STEPS[name], clip, tools, status)
            _run_step(STEPS[name], mark, options, work, order, status, result)
            progress()
    except PackError:
        raise
    except DittoError as error:
        result.failed = (name, _reason(error, clip))
        _record_failure(status, result, mark if isinstance(error, InputError) else "")
    except Exception as error:  # one clip must not take the others with it
        LOG.debug("%s: %s", clip.origin, name, exc_info=True)
        result.failed = (name, f"{type(error).__name__}: {error}")
        _record_failure(status, result, "")
    return result


def signature(step: Step, clip: Clip, tools: Tools, status: ClipStatus) -> tuple[str, dict[str, Any]]:
    """What identifies the result of a step (its options, and those of the steps it depends on), and the options.

    Raises InputError when a file is missing that it starts from.
    """
    options = step.options(tools)
    before: dict[str, Any] = {}
    for name in step.after:
        record = status.steps.get(name)
        before[name] = record["signature"] if record else [stamp(clip[out]) for out in STEPS[name].outputs]
    if not step.after:
        before["source"] = stamp(check_readable(clip.paths.get(SOURCE) or clip["video_list"], "video"))
    return digest([step.name, options, before]), options


def _run_step(
    step: Step,
    mark: str,
    options: dict[str, Any],
    work: ClipWork,
    order: WorkOrder,
    status: ClipStatus,
    result: ClipResult,
) -> None:
    if not order.overwrite:
        if status.finished(step.name, mark):
            result.skipped.append(step.name)
            result.notes += status.steps[step.name]["notes"]
            return
        if status.failed is not None and status.failed["signature"] == mark:
            raise InputError(status.failed["reason"])
        if _adopt(step, mark, work.clip, status):
            result.adopted.append(step.name)
            return
    changed = status.changes(step.name, options)
    record = step.perform(work)
    if step.name == "emotion":
        record["emo_source"] = work.tools.emotion_source.name
    status.done(step.name, {"signature": mark, "options": options, **record})
    result.done.append(step.name)
    result.notes += record["notes"] + ([f"{step.name} done again ({changed})"] if changed else [])
    result.seconds += record["seconds"]


def _adopt(step: Step, mark: str, clip: Clip, status: ClipStatus) -> bool:
    """Take files that are there without a record, made by the reference's scripts say, for finished."""
    targets = list(step.targets(clip).values())
    if step.name in status.steps or status.failed is not None or not usable_outputs(targets):
        return False
    sizes = {path: stamp(path)[0] for path in targets}
    status.done(step.name, {"signature": mark, "options": None, "outputs": sizes, "notes": [], "seconds": 0})
    return True


def _reason(error: DittoError, clip: Clip) -> str:
    """The error's text without the name of the clip, which the report gives anyway."""
    return " ".join(str(error).split()).removeprefix(f"{clip.origin}: ")


def _record_failure(status: ClipStatus, result: ClipResult, mark: str) -> None:
    step, reason = result.failed or ("", "")
    try:
        status.fail(step, reason, mark)
    except DittoError as error:
        result.failed = (step, f"{reason}; {error}")
