"""State dicts from .pth, .pt and .safetensors files, read safely, and strict loading of a network from them.

Nothing in a file is ever executed: .pth files go through PyTorch's weights-only reader. Spec models.md sections 2, 11.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from core.backends.mismatch import mismatch
from core.backends.safetensors import read_safetensors
from core.errors import PackError
from core.models.modules.fold import fold_constants

NESTING = {  # key above the weights, by network
    "stitch_network": "retarget_shoulder",
    "lmdm": "model_state_dict",
    "wavlm": "model",
}
WRAPPERS = ("model_state_dict", "state_dict")  # keys that training programs put above the weights of any network
PREFIXES = re.compile(r"\b(?:module|_orig_mod)\.")  # put into names by data-parallel and compiled modules
ASKED = re.compile(r"(?:GLOBAL|Unsupported (?:class|global):?) ([\w.]+\.\w+)")  # PyTorch's refusal
SUFFIXES = (".pth", ".pt", ".safetensors")

Network = TypeVar("Network", bound=nn.Module)


def load_state_dict(path: str | Path, net_name: str = "") -> dict[str, Tensor]:
    """Read the weights of `net_name` from a file: {name: tensor} on the CPU, without nesting and wrapper prefixes.

    The tensors may be mapped from the file; copy what has to outlive it. Raises PackError in one line.
    """
    return _flat_names(Path(path), _unnest(Path(path), read_content(path), net_name))


def read_content(path: str | Path) -> Any:
    """All that a file holds, read safely: weights, and what is above or beside them. Raises PackError in one line."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise PackError(f"{path}: weights are read from {', '.join(SUFFIXES)}, not from '{path.suffix}'")
    if not path.is_file():
        raise PackError(f"model file {path} is missing; restore the pack (download it again)")
    try:
        return read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except Exception as error:  # damaged bytes can make the readers raise nearly anything
        raise PackError(f"{path}: {_reason(path, error)}") from error


def load_network(
    path: str | Path,
    network: Network,
    net_name: str,
    device: str | torch.device = "cpu",
    fold: bool = True,
) -> Network:
    """Load `network` strictly from a file and make it ready for inference: eval mode, no gradients, on `device`.

    Args:
        network: may have been built under `torch.device("meta")`, which saves the time of a random initialisation.
        fold: compute what is constant once (`fold_constants`); False keeps the state dict's names, e.g. for training.

    Raises PackError when names or shapes differ, saying which and probably why.
    """
    state = load_state_dict(path, net_name)
    wanted = network.state_dict()
    problem = mismatch(net_name, wanted, state)
    if problem:
        raise PackError(f"{path}: {problem}")
    # copies, since a mapped file that is replaced later would change or crash a running network
    copies = {name: state[name].to(device, tensor.dtype, copy=True).contiguous() for name, tensor in wanted.items()}
    network.load_state_dict(copies, strict=True, assign=True)
    network.requires_grad_(False).eval()
    if fold:
        fold_constants(network)
    return network.to(device)


def _read_torch(path: Path) -> Any:
    """Content of a file written by torch.save, in the zip format or the older one, which cannot be mapped."""
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that are refused anyway
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, in words for its owner."""
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    with open(path, "rb") as file:
        head = file.read(64)
        file.seek(-min(64, path.stat().st_size), 2)
        tail = file.read()
    text = str(error)
    asked = ASKED.search(text)
    if asked and not tail[:-1].endswith(asked[1].rpartition(".")[2].encode()):  # else cut off within a harmless name
        return f"not loaded: it is no plain state dict but asks to run {asked[1]}; use the published file"
    if not head:
        return "is empty; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; run `git lfs pull` or download the file"
    if head.lstrip().startswith((b"<", b"{")):
        return "is a text file (a web page saved by a failed download?), not weights; download it again"
    if head.startswith(b"PK") or "runcated" in text or isinstance(error, EOFError):
        return f"is truncated or damaged ({_first_line(text)}); download it again"
    if isinstance(error, pickle.UnpicklingError):
        return "is damaged or was not written by torch.save; download it again"
    return f"is damaged or not a file of weights ({_first_line(text) or type(error).__name__}); download it again"


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:120].rstrip(" .:") if lines else ""


def _unnest(path: Path, content: Any, net_name: str) -> Mapping[str, Tensor]:
    """The dictionary of tensors within what a file holds."""
    if not isinstance(content, Mapping):
        raise PackError(f"{path}: holds a {type(content).__name__}, not a state dict")
    key = NESTING.get(net_name)
    for wrapper in (key, *WRAPPERS):
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if key:  # safetensors files cannot nest: there the key is the beginning of the names
        inside = {name[len(key) + 1 :]: value for name, value in content.items() if str(name).startswith(f"{key}.")}
        content = inside or content
    if not content:
        raise PackError(f"{path}: holds no tensors")
    pairs = content.items()
    foreign = [str(name) for name, value in pairs if not isinstance(name, str) or not isinstance(value, Tensor)]
    if foreign:
        expected = f" or under '{key}'" if key else ""
        raise PackError(f"{path}: expected a state dict at the top{expected}, found the keys {', '.join(foreign[:4])}")
    return content


def _flat_names(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes of wrapping modules."""
    state = {PREFIXES.sub("", name): tensor for name, tensor in tensors.items()}
    if len(state) != len(tensors):
        twice = len(tensors) - len(state)
        raise PackError(f"{path}: {twice} names occur twice, with and without a prefix such as 'module.'")
    return state
