"""How programs end: one line, the right exit code, whatever was raised and whoever reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.cli.program import run_program
from core.errors import InputError, StageError

ROOT = Path(__file__).resolve().parents[2]


def raising(error: BaseException):
    def program() -> None:
        raise error

    return program


@pytest.mark.parametrize("error, code, line", [
    (InputError("a.png: no\nface"), 2, "error: a.png: no face"),
    (StageError("warp", ValueError("x")), 1, "error: stage 'warp' failed: ValueError: x"),
    (FileNotFoundError(2, "No such file or directory", "b.csv"), 2, "error: b.csv: No such file or directory"),
    (KeyError("k"), 1, "error: internal failure: KeyError: 'k'"),
    (OSError("odd"), 1, "error: internal failure: OSError: odd"),
    (KeyboardInterrupt(), 130, "stopped"),
])  # fmt: skip
def test_every_end_is_one_line(capsys, error, code, line):
    assert run_program(raising(error), "stopped") == code
    assert capsys.readouterr().err == f"{line}\n"


def run(code: str, **kwargs) -> subprocess.CompletedProcess:
    text = f"import sys; from core.cli.program import leave, run_program\n{code}"
    return subprocess.run([sys.executable, "-c", text], cwd=ROOT, text=True, stderr=subprocess.PIPE, **kwargs)


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize("end", ["leave", "sys.exit"])
def test_a_reader_that_has_gone_is_no_failure_of_ours(end):
    read, write = os.pipe()
    os.close(read)
    done = run(f"{end}(run_program(lambda: print('a line')))", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(os.name == "nt", reason="POSIX descriptors")
def test_streams_that_are_closed_from_the_start():
    done = run("leave(run_program(lambda: print('a line')))", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")
    done = run("leave(run_program(lambda: 1 / 0))", preexec_fn=lambda: os.close(2))
    assert done.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupt_that_a_library_swallows_is_still_one():
    program = """
import os, signal
def program():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None
sys.exit(run_program(program, "stopped"))
"""
    done = run(program)
    assert (done.returncode, done.stderr) == (130, "stopped\n")
