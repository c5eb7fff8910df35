"""One file job: whatever stops it before, at or after the start, no file is left."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from core.avatars.avatar import Frame
from core.errors import InputError, OutputError, StageError
from core.pipeline import Pipeline, Stage
from core.runs.file_job import Job, run_job
from core.runs.file_run import FileRun
from core.settings.options import RunOptions
from core.utils.blas import BlasLimit

SIZE = (64, 64)


class Plan:
    """A run whose stages make `made` grey frames of a recording."""

    def __init__(self, made: int = 5, pictures=None):
        self.options, self.motion = RunOptions(), SimpleNamespace(limit=None, made=made, expected=lambda: 5)
        self.avatar = SimpleNamespace(
            frames=[np.zeros((*SIZE, 3), np.uint8)], rate=Fraction(25), alpha=None, frames_for=int
        )
        self._made = made
        self.pictures = pictures or (lambda: [Stage("pictures", lambda frame: frame)])

    def hearing(self):
        return Stage("hearing", lambda samples: (Frame(i, 0, image=self.avatar.frames[0]) for i in range(self._made)))

    def frames(self):
        return []


@pytest.fixture
def place(tmp_path):
    """A folder for the result and the job that goes there."""
    samples = np.zeros(5 * 640, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    (tmp_path / "out").mkdir()
    return tmp_path / "out", Job(samples, tmp_path / "a.wav", tmp_path / "out" / "r.mp4")


def test_a_job_gives_its_file(place):
    folder, job = place
    frames, _, live = run_job(Plan(), job)
    assert frames == 5 and live is None and [path.name for path in folder.iterdir()] == ["r.mp4"]


def refuse():
    raise InputError("this blending cannot be done")


def fail(_):
    raise ValueError("in a stage")


@pytest.mark.parametrize(
    "plan, error",
    [
        (Plan(made=4), OutputError),
        (Plan(pictures=refuse), InputError),
        (Plan(pictures=lambda: [Stage("pictures", fail)]), StageError),
    ],
)
def test_a_job_that_fails_leaves_nothing(place, plan, error):
    folder, job = place
    with pytest.raises(error):
        run_job(plan, job)
    assert not list(folder.iterdir())


def test_an_interrupt_before_the_start_leaves_nothing(place, monkeypatch):
    folder, job = place

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "__enter__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_job(Plan(), job)
    assert not list(folder.iterdir())


def test_a_file_run_that_cannot_start_leaves_nothing(place, monkeypatch):
    folder, _ = place
    blas = SimpleNamespace(users=0)
    limit = BlasLimit()
    limit.enter = lambda: setattr(blas, "users", blas.users + 1)
    limit.leave = lambda: setattr(blas, "users", blas.users - 1)
    with pytest.raises(InputError):
        FileRun(Plan(pictures=refuse), None, folder / "r.mp4", limit)

    def no_threads(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", no_threads)
    with pytest.raises(RuntimeError):
        FileRun(Plan(), None, folder / "r.mp4", limit)
    assert not list(folder.iterdir()) and blas.users == 0
