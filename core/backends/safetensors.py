"""Reads .safetensors files with the library of that name, and says in plain words what is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """{name: tensor} of the file, on the CPU.

    Raises ValueError for what does not follow the format or when the library is missing, OSError when the file cannot
    be read.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ValueError("needs the package safetensors: pip install -e '.[torch]'") from None
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(_reason(str(error))) from error


def _reason(text: str) -> str:
    """The library's refusal in words."""
    said = text.rpartition("deserializing header: ")[2]
    if said.startswith(("header too", "invalid header length")):
        return "truncated in its header, or not a safetensors file"
    if said.startswith("incomplete metadata"):
        return "truncated: its tensors end beyond the file"
    return f"not a valid safetensors file: {said}"
