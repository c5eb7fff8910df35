"""Every program in the default installation: without an optional package it says in one line what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPTIONAL = (
    "accelerate aiortc diffusers fastapi gradio huggingface_hub matplotlib mediapipe onnx PIL prometheus_client psutil "
    "ray safetensors scipy starlette tensorboard tensorrt torch transformers tyro uvicorn websockets"
).split()
FOLDERS = (".", "DiffTalk", "MotionDiT", "prepare_data", "prepare_data/scripts", "scripts", "example")
PROGRAMS = sorted(
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in (ROOT / folder).glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Environment in which no optional package can be imported."""
    folder = tmp_path_factory.mktemp("bare")
    for name in OPTIONAL:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_the_list_is_not_empty():
    assert {"inference.py", "MotionDiT/train.py", "scripts/export_onnx.py", "scripts/serve.py"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_or_one_line(program, bare):
    done = subprocess.run(
        [sys.executable, program, "--help"], cwd=ROOT, env=bare, capture_output=True, text=True, timeout=60
    )
    if done.returncode == 0:
        assert "usage" in done.stdout.lower() and not done.stderr
    else:
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.startswith("error: ") and "pip install -e '.[" in done.stderr
        assert done.stderr.count("\n") == 1
