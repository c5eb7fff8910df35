"""The folder of a training run: configuration, checkpoints and pictures (spec difftalk.md section 10)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from core.errors import InputError, OutputError
from core.utils.whole_file import second_name
from DiffTalk.config import Config, load_config, to_tree

STEP_FILE = re.compile(r"step=(\d{8})\.ckpt")


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """step=N.ckpt, last.ckpt and best.ckpt."""
        return self.path / "checkpoints"

    @property
    def images(self) -> Path:
        """Sample grids."""
        return self.path / "images"

    @property
    def config_file(self) -> Path:
        """All settings of the run."""
        return self.path / "configs" / "config.yaml"

    def step_files(self) -> list[Path]:
        """Checkpoints by step, the oldest first."""
        return sorted(path for path in self.checkpoints.glob("step=*.ckpt") if STEP_FILE.fullmatch(path.name))

    def keep(self, newest: Path, last: int, best: bool) -> None:
        """Name `newest` last.ckpt, and best.ckpt when it is the best so far; remove all but the `last` ones."""
        second_name(newest, self.checkpoints / "last.ckpt")
        if best:
            second_name(newest, self.checkpoints / "best.ckpt")
        for old in self.step_files()[:-last]:
            old.unlink()


def create(logdir: Path, name: str, config: Config) -> RunFolder:
    """A new folder below `logdir` that holds the configuration. Raises OutputError."""
    folder = RunFolder(logdir / f"{time.strftime('%Y-%m-%dT%H-%M-%S')}_{name}")
    try:
        for path in (folder.checkpoints, folder.images, folder.config_file.parent):
            path.mkdir(parents=True)
        folder.config_file.write_text(yaml.safe_dump(to_tree(config), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder.path}: cannot write there ({error.strerror}); choose another --logdir") from None
    return folder


def resume(target: Path, words: list[str]) -> tuple[RunFolder, Path, Config]:
    """Folder, checkpoint and configuration of a run, from its folder or one of its checkpoints. Raises InputError."""
    folder = RunFolder(target.parent.parent if target.is_file() else target)
    if not folder.config_file.is_file():
        raise InputError(f"{target}: neither the folder of a training run nor one of its checkpoints")
    checkpoint = target if target.is_file() else folder.checkpoints / "last.ckpt"
    if not checkpoint.is_file():
        raise InputError(f"{folder.path}: holds no checkpoint yet; start it anew")
    return folder, checkpoint, load_config([folder.config_file], words)


def shared(folder: RunFolder | None) -> RunFolder:
    """The main process's folder, in every process."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([folder])[0]
