"""The training program: smoke run, resuming against the unbroken run, and flags."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")
pytest.importorskip("tensorboard")

from core.errors import InputError
from DiffTalk import train, train_first_stage
from DiffTalk.checkpoint import FULL, open_checkpoint
from DiffTalk.checkpoint_file import read_content
from DiffTalk.config import CONFIGS
from DiffTalk.trainer import Trainer
from DiffTalk.training_step import draw

SHORT = [
    "model.norm_groups=32",  # as the stand-in weights
    *("train.batch=2", "train.log_every=1", "train.validate_items=1", "train.validate_every=0"),
    *("train.sample_items=1", "train.sample_steps=2", "train.sample_every=2", "train.save_every=2"),
]


@pytest.fixture
def tree(stand_ins: Any, tmp_path: Path) -> Path:
    """The synthetic tree with six training frames, all of them pictures of the first."""
    root = tmp_path / "data"
    stand_ins.write_tree(str(root))
    for frame in range(10, 13):
        for folder, suffix in (("images", "jpg"), ("landmarks", "lms"), ("audio_smooth", "npy")):
            base = root / "HDTF" / folder
            shutil.copy(base / f"1_2.{suffix}", base / f"1_{frame}.{suffix}")
    (root / "data_train.txt").write_text("1_1\n1_2\n1_150\n1_10\n1_11\n1_12\n")
    return root


def losses(output: str) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in re.findall(r"step (\d+): loss ([\d.]+)", output)}


def run(*words: str) -> int:
    from accelerate.state import AcceleratorState, GradientState, PartialState

    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    return train.main(list(words))


def test_resumed_run_equals_the_unbroken_one(
    tree: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    begin = ["-b", str(CONFIGS / "tiny.yaml"), "--first_stage", str(tiny_checkpoint), f"data.root={tree}", *SHORT]
    assert run(*begin, "--logdir", str(tmp_path / "a"), "train.steps=4") == 0
    unbroken = losses(capsys.readouterr().out)
    assert unbroken[1] == pytest.approx(1, abs=0.15)  # a fresh network answers 0, so the loss is that of unit noise
    (whole,) = (tmp_path / "a").iterdir()
    assert sorted(path.name for path in (whole / "images").iterdir()) == ["step=00000002.png", "step=00000004.png"]
    assert open_checkpoint(whole / "checkpoints/last.ckpt").kind == FULL
    assert 0 < read_content(whole / "checkpoints/best.ckpt")["best"] < 2  # the validation loss at the end

    assert run("--resume", str(whole / "checkpoints/step=00000002.ckpt"), "train.steps=4") == 0
    resumed = losses(capsys.readouterr().out)
    assert set(resumed) == {3, 4}
    for step, loss in resumed.items():
        assert loss == pytest.approx(unbroken[step], abs=2e-4)


def test_bad_runs_leave_no_folder(tree: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: Any) -> None:
    base = ["-b", str(CONFIGS / "tiny.yaml"), "--logdir", str(tmp_path / "logs"), f"data.root={tree}"]
    cases = [
        ([*base], "give --first_stage"),
        ([*base, "--first_stage", str(tmp_path / "none.ckpt")], "no such file"),
        ([*base, "--first_stage", str(tiny_checkpoint), "train.batch=100", SHORT[0]], "do not fill one step"),
        ([*base, "--first_stage", str(tiny_checkpoint)], "norm_groups=32"),
        (["--resume", str(tree)], "neither the folder"),
        (["--resume", str(tree), "-n", "x"], "exclude each other"),
    ]
    for words, says in cases:
        assert run(*words) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and says in error and error.count("\n") == 1
    assert not (tmp_path / "logs").exists()


def test_flags_of_the_reference_are_answered(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        train.main(["-t", "--gpus", "0,1,"])
    assert left.value.code == 2 and "--num_processes" in capsys.readouterr().err


def test_first_stage_program(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "first.safetensors"
    words = ["-b", str(CONFIGS / "tiny.yaml"), "--out", str(out), f"data.root={tree}"]
    assert train_first_stage.main([*words, "first_stage.steps=4", "first_stage.batch=2"]) == 0
    assert open_checkpoint(out).sizes.codes == 256
    assert "step 4" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs that signal")
def test_a_signal_asks_for_a_checkpoint_while_training_only() -> None:
    trainer, before = Trainer.__new__(Trainer), signal.getsignal(signal.SIGUSR1)
    trainer._save_now = False
    with pytest.raises(InputError), trainer._signals():
        signal.raise_signal(signal.SIGUSR1)
        assert trainer._save_now
        raise InputError("the loss is not finite")
    assert signal.getsignal(signal.SIGUSR1) == before


def test_noise_of_training_is_decided_by_its_seed() -> None:
    one, two, other = (draw((2, 3, 4, 4), seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(one[1], two[1]) and torch.equal(one[0], two[0])
    assert not torch.equal(one[1], other[1])
