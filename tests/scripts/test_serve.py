"""scripts/serve.py as a command."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments, env=None):
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen([sys.executable, "scripts/serve.py", *arguments], env={**os.environ, **(env or {})}, **more)


def failed(*arguments, env=None):
    process = command(*arguments, env=env)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err and out == ""
    return process.returncode, err


def test_it_listens_on_this_machine_only_and_stops_on_a_signal(tmp_path):
    pytest.importorskip("uvicorn")
    process = command("--port", "0", "--state", str(tmp_path), env={"DITTO_TOKEN": ""})
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
        with urllib.request.urlopen(f"{address}/ready", timeout=30) as answer:
            assert json.load(answer)["ready"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, err = failed("--port", str(taken.getsockname()[1]))
    assert code == 2 and re.fullmatch(r"error: cannot listen on 127.0.0.1:\d+ \(.*\); try another --port\n", err)


@pytest.mark.parametrize("arguments, words", [
    (("--data_root", "nowhere"), "nowhere"),
    (("--sessions", "0"), "at least 1"),
    (("--step", "0"), "give 1 to 25"),
    (("--port", "99999999"), "give 0 to 65535"),
    (("--state", "/proc/none"), "cannot be used"),
])  # fmt: skip
def test_bad_arguments_are_one_line(arguments, words):
    pytest.importorskip("uvicorn")
    code, err = failed("--port", "0", *arguments)
    assert code == 2 and words in err and err.startswith("error: ") and err.count("\n") == 1


def test_being_open_to_others_without_a_token_is_said():
    code, err = failed("--host", "0.0.0.0", "--port", "99999999", env={"DITTO_TOKEN": ""})
    assert code == 2 and "without a token" in err


def test_without_the_extra_it_is_named(tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')")
    code, err = failed("--port", "0", env={"PYTHONPATH": str(tmp_path)})
    assert (code, err) == (2, "error: uvicorn is not installed; pip install -e '.[serve]'\n")
