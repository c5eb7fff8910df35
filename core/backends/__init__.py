"""Loading of networks, whatever program runs them. The file's suffix decides."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.backends.session import CheckedSession, Session
from core.errors import PackError
from core.settings.speed import Speed

__all__ = ["Session", "load", "missing_extra"]

TORCH_SUFFIXES = (".pth", ".pt", ".safetensors")
ENGINE_SUFFIXES = (".engine", ".trt")
EXTRAS = {  # suffix -> package that reads it, and the extra of this program that brings the package
    **dict.fromkeys(TORCH_SUFFIXES, ("torch", "torch")),
    **dict.fromkeys(ENGINE_SUFFIXES, ("tensorrt", "trt")),
    ".onnx": ("onnxruntime", "gpu"),
    ".task": ("mediapipe", "mediapipe"),
}


def load(
    path: str | Path,
    device: str = "auto",
    *,
    net_name: str = "",
    sizes: Mapping[str, Any] | None = None,
    threads: int = 1,
    speed: Speed = Speed(),
) -> CheckedSession:
    """Load a network: .onnx, .pth/.pt/.safetensors or .engine/.trt.

    Args:
        device: "cpu", "cuda", "cuda:1" or "auto" (a GPU if there is one that the backend can use).
        net_name: which network of `core.models` a file of weights belongs to; the other formats do not need it.
        sizes: of that network where they are not the published ones.
        threads: of one ONNX network on the CPU. PyTorch: see torch.set_num_threads.
        speed: precision and compilation of PyTorch networks.

    Raises PackError when the file is missing, damaged, of another network or of a kind that nothing here reads.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in EXTRAS or suffix == ".task":
        known = ", ".join((".onnx", *TORCH_SUFFIXES, *ENGINE_SUFFIXES))
        raise PackError(f"{path}: networks are read from {known}, not from '{path.suffix}'")
    lacking = missing_extra(path)
    if lacking:
        raise PackError(f"{path}: {lacking}")
    if suffix in TORCH_SUFFIXES:
        from core.backends.pytorch import load_torch

        return load_torch(path, net_name, device, sizes, speed)
    if suffix in ENGINE_SUFFIXES:
        from core.backends.tensorrt import load_engine

        return load_engine(path, device, cuda_graphs=speed.cuda_graphs)
    from core.backends.onnx import load_session

    return load_session(path, threads, device)


def missing_extra(path: Path) -> str | None:
    """What has to be installed before this file can be used, or None."""
    package, extra = EXTRAS.get(path.suffix.lower(), ("", ""))
    if not package or importlib.util.find_spec(package) is not None:
        return None
    return f"needs the package {package}: pip install -e '.[{extra}]'"
