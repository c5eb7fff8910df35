"""The set-up scripts: silent when all is installed, light by default, clear about a wrong call."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bash(script: str, **env: str) -> subprocess.CompletedProcess:
    script = f'set -euo pipefail; ROOT="{ROOT}"; . "$ROOT/scripts/setup_env.sh"; {script}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**os.environ, **env}, timeout=60)


@pytest.fixture
def installed(tmp_path) -> str:
    """Something that looks like a virtual environment whose installation is up to date."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    with open(ROOT / "pyproject.toml", "rb") as file:
        (tmp_path / ".ditto-default").write_bytes(subprocess.run(["cksum"], stdin=file, capture_output=True).stdout)
    return str(tmp_path)


def test_an_installed_environment_is_used_in_silence(installed):
    done = bash('setup_env; echo "$PYTHON"', VIRTUAL_ENV=installed)
    assert (done.stdout.strip(), done.stderr, done.returncode) == (f"{installed}/bin/python", "", 0)


def test_the_default_requirements_are_light(installed):
    default = bash('PYTHON="$VIRTUAL_ENV/bin/python"; requirements', VIRTUAL_ENV=installed).stdout
    assert "numpy" in default and not any(word in default for word in ("torch", "librosa", "mediapipe", "pytest"))
    tests = bash('PYTHON="$VIRTUAL_ENV/bin/python"; requirements test', VIRTUAL_ENV=installed).stdout
    assert tests.startswith(default) and "pytest" in tests


def test_conda_gets_the_same_list():
    text = (ROOT / "environment.yaml").read_text()
    for line in bash(f'PYTHON="{sys.executable}"; requirements').stdout.split():
        assert f"- {line}\n" in text


def test_no_python_is_one_line(tmp_path):
    done = bash("hash -r; PATH=/nowhere; find_python")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "no Python" in done.stderr


def test_demo_explains_itself():
    done = subprocess.run(["bash", str(ROOT / "scripts" / "demo.sh"), "--help"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("usage:") and not done.stdout
