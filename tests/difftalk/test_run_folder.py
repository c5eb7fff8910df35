"""The folder of a training run: which checkpoints stay, and how a run is found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import InputError, OutputError
from DiffTalk import run_folder
from DiffTalk.config import Config, load_config


@pytest.fixture
def folder(tmp_path: Path) -> run_folder.RunFolder:
    return run_folder.create(tmp_path / "logs", "talking", Config())


def write(folder: run_folder.RunFolder, step: int, best: bool) -> None:
    path = folder.checkpoints / f"step={step:08d}.ckpt"
    path.write_text(f"weights of {step}")
    folder.keep(path, 2, best)


def test_the_last_ones_and_the_best_stay(folder: run_folder.RunFolder) -> None:
    (folder.checkpoints / "step=mine.ckpt").write_text("put there by hand")
    for step, best in ((2, True), (4, True), (6, False), (8, False)):
        write(folder, step, best)
    found = {path.name: path.read_text() for path in folder.checkpoints.iterdir()}
    assert found == {
        "step=00000006.ckpt": "weights of 6",
        "step=00000008.ckpt": "weights of 8",
        "last.ckpt": "weights of 8",
        "best.ckpt": "weights of 4",
        "step=mine.ckpt": "put there by hand",
    }


def test_without_hard_links_the_names_are_copies(folder: run_folder.RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refused)
    write(folder, 2, True)
    assert (folder.checkpoints / "last.ckpt").read_text() == (folder.checkpoints / "best.ckpt").read_text()
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "step=00000002.ckpt",
    ]


def test_a_run_is_found_by_its_folder_and_by_a_checkpoint(folder: run_folder.RunFolder) -> None:
    with pytest.raises(InputError, match="holds no checkpoint yet"):
        run_folder.resume(folder.path, [])
    write(folder, 2, False)
    last, first = folder.checkpoints / "last.ckpt", folder.checkpoints / "step=00000002.ckpt"
    for target, checkpoint in ((folder.path, last), (first, first)):
        found, path, config = run_folder.resume(target, ["train.steps=7"])
        assert (found, path) == (folder, checkpoint) and config == load_config(words=["train.steps=7"])


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another --logdir"):
        run_folder.create(tmp_path / "file", "talking", Config())
