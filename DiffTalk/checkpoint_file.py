"""Reads files of weights without running anything they name (spec difftalk.md section 12).

Lightning 1.2 puts classes among the keys of its checkpoints, which PyTorch's weights-only reader refuses. They are
replaced by inert classes that take anything and do nothing; the reader stays the weights-only one.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.backends.safetensors import read_safetensors
from core.errors import OutputError, PackError
from core.utils.whole_file import whole_file

SUFFIXES = (".ckpt", ".pth", ".pt", ".safetensors")


class Inert:
    """Stands for a class of another program."""

    def __new__(cls, *ignored: Any, **also: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *ignored: Any, **also: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_content(path: str | Path) -> dict[str, Any]:
    """What a file of weights holds at its top; tensors may be mapped from the file.

    Raises PackError in one line for missing, foreign, damaged and hostile files.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise PackError(f"{path}: weights are read from {', '.join(SUFFIXES)}, not from '{path.suffix}'")
    if not path.is_file():
        raise PackError(f"{path}: no such file of weights")
    try:
        content = read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except PackError:
        raise
    except Exception as error:  # damaged bytes can make the readers raise nearly anything
        reason = str(error).strip().splitlines()
        raise PackError(f"{path}: damaged or no file of weights ({reason[0][:120] if reason else 'empty'})") from error
    if not isinstance(content, Mapping):
        raise PackError(f"{path}: holds a {type(content).__name__}, not a dictionary of weights")
    return dict(content)


def state_dict_of(path: str | Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file, below `state_dict` or at the top. Raises PackError when there are none."""
    inner = content.get("state_dict", content)
    tensors = {name: value for name, value in inner.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if not tensors:
        raise PackError(f"{path}: holds no tensors")
    return tensors


def write_torch(content: Mapping[str, Any], path: Path) -> None:
    """torch.save with a temporary name first. Raises OutputError."""
    try:
        with whole_file(path) as part:
            torch.save(dict(content), part)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot write the checkpoint ({error})") from None


def write_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """The same as one .safetensors file. Raises OutputError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with whole_file(path) as part:
            save_file({name: value.contiguous() for name, value in tensors.items()}, part, dict(metadata))
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot write the weights ({error})") from None


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The text entries in the header of a .safetensors file that `read_content` accepted."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def _read_torch(path: Path) -> Any:
    zipped = zipfile.is_zipfile(path)
    unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
    inert = [(type(name.rpartition(".")[2], (Inert,), {}), name) for name in unknown]
    with warnings.catch_warnings(), torch.serialization.safe_globals(inert):
        warnings.simplefilter("ignore")  # of files that are refused anyway
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
