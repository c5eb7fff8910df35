"""The programs as a user starts them: help, one-line errors, conversion of weights, and libraries that are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import PackError
from DiffTalk.extras import require

ROOT = Path(__file__).parents[2]


def start(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "name", ["inference", "train", "train_first_stage", "prepare_hdtf", "demo", "convert_checkpoint"]
)
def test_help_needs_no_network(name: str) -> None:
    done = start(f"DiffTalk/{name}.py", "--help")
    assert done.returncode == 0 and "usage" in done.stdout and not done.stderr


def test_one_line_and_exit_code_2(tmp_path: Path) -> None:
    words = ["--source_video", str(ROOT / "example/portrait.png"), "--audio", str(ROOT / "example/sentence.wav")]
    done = start("DiffTalk/inference.py", *words, "--checkpoint", str(tmp_path / "none.ckpt"))
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "train" in done.stderr


def test_conversion_both_ways(tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from DiffTalk import convert_checkpoint

    middle, back = tmp_path / "a.safetensors", tmp_path / "b.ckpt"
    assert convert_checkpoint.main([str(tiny_checkpoint), str(middle)]) == 0
    assert convert_checkpoint.main([str(middle), str(back)]) == 0
    assert "1625 tensors" in capsys.readouterr().out
    assert convert_checkpoint.main([str(back), str(back)]) == 2


def test_a_missing_library_names_the_extra(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(PackError, match=r"diffusers.*\[difftalk\]"):
        require("diffusers")
