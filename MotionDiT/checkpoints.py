"""Files of a run folder: train_N, best_model, last_model and the state for --resume (spec training.md 10.3, 14)."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from core.errors import InputError, OutputError
from core.packs.motion_config import KEY, MotionConfig
from core.utils.whole_file import second_name, whole_file
from MotionDiT.options import TrainOptions

NEWEST = 5  # train_N files kept besides those of --save_ckpt_freq
NUMBERED = re.compile(r"train_(\d+)\.(?:pt|safetensors)$")
STATE = "state.pt"


def replace_file(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file under a temporary name and move it into place once it is complete and on the disk.

    Raises OutputError when that fails; what was there before is untouched.
    """
    try:
        with whole_file(path) as part, open(part, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch.save hides the system's error behind a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(f"{path}: cannot be written ({reason}); free some space, what was there is intact") from error


class RunFolder:
    """The folder of one run.

    Args:
        freq: train_N stays for ever when N is a multiple of it. most: of all train_N files, 0 for any number.
        kind: "pt" or "safetensors".
    """

    def __init__(self, root: Path, freq: int, most: int = 0, kind: str = "pt"):
        self.root, self._freq, self._most, self._kind = root, freq, most, kind
        self.weights, self.state = root / "ckpts", root / STATE
        self.log, self.picture = root / "loss.log", root / "loss.png"

    def open(self, options: TrainOptions) -> None:
        """Make the folder, or empty it with --overwrite. Raises InputError when a run is there that was not expected.

        A run that was killed before its first state begins again with --resume.
        """
        used = self.state.exists() or self.weights.exists() or self.log.exists()
        if used and not (options.resume or options.overwrite):
            raise InputError(f"{self.root} holds a run already: --resume or --overwrite it, or take another name")
        if used and not (options.resume and self.state.is_file()):
            shutil.rmtree(self.root)
        self.weights.mkdir(parents=True, exist_ok=True)
        replace_file(self.root / "opt.pkl", lambda file: pickle.dump(asdict(options), file, protocol=2))
        text = json.dumps(asdict(options), indent=1)
        replace_file(self.root / "opt.json", lambda file: file.write(text.encode()))

    def save_epoch(self, epoch: int, network: nn.Module, config: MotionConfig, best: bool) -> Path:
        """Write train_EPOCH, let last_model (and best_model) be the same, and remove what retention does not keep."""
        path = self.weights / f"train_{epoch}.{self._kind}"
        save_weights(path, network, config)
        for name in ("last_model", "best_model")[: 1 + best]:
            _name_as_well(path, self.weights / f"{name}.{self._kind}")
        files = self._numbered()
        for number in self.spare(files):
            files[number].unlink(missing_ok=True)
        return path

    def spare(self, files: Iterable[int]) -> list[int]:
        """Of the numbers of the train_N files, those that are not kept."""
        passing = sorted(number for number in files if number % self._freq)[:-NEWEST]
        kept = sorted(set(files) - set(passing))
        if self._most and len(kept) > self._most:
            passing += kept[: -self._most]
        return passing

    def _numbered(self) -> dict[int, Path]:
        found = ((NUMBERED.search(path.name), path) for path in self.weights.iterdir())
        return {int(match[1]): path for match, path in found if match}


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's state dict on the CPU, each tensor with a memory of its own."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}


def save_weights(path: Path, network: nn.Module, config: MotionConfig) -> None:
    """Write a checkpoint with its description. Raises OutputError, and leaves an old file alone."""
    state = network.state_dict()
    if path.suffix == ".safetensors":
        from safetensors.torch import save

        content = save(tensors(network), {KEY: config.text()})
        replace_file(path, lambda file: file.write(content))
    else:
        content = {"model_state_dict": {name: tensor.detach().cpu() for name, tensor in state.items()}}
        replace_file(path, lambda file: torch.save({**content, KEY: config.plain()}, file))


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state for --resume: tensors and plain values only."""
    replace_file(path, lambda file: torch.save(dict(state), file))


def load_state(path: Path) -> dict[str, Any]:
    """Read it, safely, onto the CPU. Raises InputError when it is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can make the reader raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be resumed from ({reason}); start anew with --checkpoint") from None


def _name_as_well(source: Path, target: Path) -> None:
    """Give a checkpoint a second name. Raises OutputError."""
    try:
        second_name(source, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from error
