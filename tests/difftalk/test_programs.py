"""The programs as a user starts them: help, one-line errors, conversion of weights, and libraries that are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.errors import PackError
from DiffTalk import fit_speech_projection
from DiffTalk.extras import require

ROOT = Path(__file__).parents[2]


def start(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)


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


@pytest.mark.parametrize(
    "words, says", [(["--width", "48"], "multiples of 32"), (["--size", "50"], "image_size"), (["--batch", "0"], "1")]
)
def test_sizes_that_cannot_be_are_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    from DiffTalk import benchmark

    assert benchmark.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error and error.count("\n") == 1


def test_fitted_components_are_apart_and_of_one_size() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 384)) @ rng.normal(size=(384, 384)) + rng.normal(size=384)
    mean, matrix, share = fit_speech_projection.fit(rows)
    found = (rows - mean) @ matrix
    np.testing.assert_allclose(np.cov(found, rowvar=False), 9 * np.eye(29), atol=1e-3)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    total, largest = np.cov(rows, rowvar=False).trace(), np.linalg.eigvalsh(np.cov(rows, rowvar=False))[-29:].sum()
    assert share == pytest.approx(largest / total)


def test_a_projection_that_cannot_be_fitted_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out, short = tmp_path / "p.npz", tmp_path / "short.wav"
    soundfile.write(short, np.zeros(3200), 16000)
    for words, says in (([str(tmp_path / "none.wav")], "none.wav"), ([str(short)], "too few")):
        assert fit_speech_projection.main([*words, "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [short]


def test_benchmark_of_tiny_networks(capsys: pytest.CaptureFixture) -> None:
    from DiffTalk import benchmark

    assert benchmark.main(["--width", "32", "--size", "32", "--repeat", "1", "--device", "cpu"]) == 0
    *times, speed = capsys.readouterr().out.splitlines()
    assert [line.rsplit(maxsplit=4)[0] for line in times] == ["sampling step", "diffusers U-Net", "encode", "decode"]
    seconds = [float(line.split()[-4]) for line in times]
    assert min(seconds) > 0 and float(speed.split()[-1]) == pytest.approx(seconds[1] / seconds[0], rel=0.1)
