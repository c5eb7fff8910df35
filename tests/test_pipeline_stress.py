"""Pipeline under fire: whatever fails, and whenever, a run ends soon, with its file or with nothing."""

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from core.errors import StageError
from core.pipeline import STOP_GRACE, Cancelled, Pipeline, Stage

RUNS = 200
ITEMS = 40
PLACES = ("source", "middle", "target")
KINDS = ("nothing", "error", "error at the end", "progress", "cancel", "interrupt", "body")


class Refusal(Exception):
    """What a stage or the body of the run raises."""


class File:
    """A last stage that fills a temporary file, as the video writer does."""

    def __init__(self, path: Path):
        self.path, self.part = path, path.with_suffix(".part")
        self.part.write_text("")
        self.lines: list[int] = []

    def write(self, item: int) -> None:
        self.lines.append(item)

    def close(self) -> None:
        self.part.write_text(repr(self.lines))
        self.part.replace(self.path)

    def abort(self) -> None:
        self.part.unlink(missing_ok=True)


class Chance:
    """What goes wrong in one run, and where."""

    def __init__(self, seed: int):
        draw = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        self.place, self.item = draw.choice(PLACES), draw.randrange(ITEMS)
        self.delay, self.queue = draw.uniform(0, 0.012), draw.randint(1, 4)
        self.slow = draw.choice(PLACES)

    def call(self, place: str, item: int) -> None:
        if place == self.slow and item % 7 == 0:
            time.sleep(0.001)
        if self.kind == "error" and place == self.place and item == self.item:
            raise Refusal(place)

    def at_end(self, place: str) -> None:
        if self.kind == "error at the end" and place == self.place:
            raise Refusal(place)


def stages(chance: Chance, file: File) -> list[Stage]:
    def source(item):
        for number in (item, item):
            chance.call("source", number)
            yield number

    def middle(items):
        for item in items:
            chance.call("middle", item)
        return iter(items)

    def target(item):
        chance.call("target", item)
        file.write(item)

    def close():
        chance.at_end("target")
        file.close()

    return [
        Stage("source", source, finish=lambda: chance.at_end("source")),
        Stage("middle", middle, finish=lambda: chance.at_end("middle"), batch=3),
        Stage("target", target, finish=close, abort=file.abort),
    ]


def drive(chance: Chance, pipeline: Pipeline) -> None:
    """A run as callers write it; raises what comes out of it."""
    try:
        with pipeline:
            for item in range(ITEMS):
                if chance.kind == "body" and item == chance.item:
                    raise Refusal("body")
                pipeline.put(item)
    except BaseException:
        pipeline.cancel()
        raise
    finally:
        try:
            pipeline.close()
        except StageError:
            pass


@pytest.fixture
def alarm():
    """A function that interrupts this thread after some seconds, as Ctrl-C does."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("needs timers that send signals")

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("first", range(0, RUNS, 50))
def test_a_run_that_fails_anywhere_ends_soon_and_leaves_its_file_or_nothing(tmp_path, alarm, first):
    for seed in range(first, first + 50):
        chance = Chance(seed)
        file = File(tmp_path / f"{seed}.txt")
        last = 2 * chance.item if chance.kind == "progress" else -1
        pipeline = Pipeline(stages(chance, file), chance.queue, on_progress=lambda count, last=last: count != last)
        if chance.kind == "cancel":
            threading.Timer(chance.delay, pipeline.cancel).start()
        start, ended = time.monotonic(), "well"
        try:
            if chance.kind == "interrupt":
                alarm(chance.delay + 1e-6)
            drive(chance, pipeline)
            alarm(0)
        except (StageError, Refusal, Cancelled, KeyboardInterrupt) as error:
            ended = type(error).__name__
        except RuntimeError as error:  # an interrupt within Thread.start() can come out as this
            assert chance.kind == "interrupt" and "unlocked lock" in str(error)
        assert time.monotonic() - start < STOP_GRACE, f"{seed}: {chance.kind} took too long"
        assert not file.part.exists(), f"{seed}: {chance.kind} at {chance.place} left a file ({ended})"
        assert not any(thread.is_alive() for thread in pipeline._threads), f"{seed}: {chance.kind} left a thread"
        if ended == "well" and not pipeline.cancelled:
            assert file.path.read_text() == repr([item for item in range(ITEMS) for _ in range(2)])
        if ended == "StageError":
            assert not file.path.exists(), f"{seed}: a failed run left a result"
