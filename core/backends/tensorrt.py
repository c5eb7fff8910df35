"""TensorRT engines with the execution API of versions 10 and 11: named tensors, no arrays of bindings.

NOT RUN on a GPU yet: the project's machines have none with TensorRT. The tests use stand-ins for the two packages.
Needs the extra `trt` (tensorrt and cuda-python). How engines are made: `core.backends.tensorrt_build`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.backends.cuda_memory import Cuda, open_gpu
from core.backends.engine_session import EngineSession
from core.backends.engine_tag import read_tag
from core.errors import PackError

OLDEST = 10  # major version whose API is used here


def load_engine(path: Path, device: str = "auto", contexts: int = 1, cuda_graphs: bool = False) -> EngineSession:
    """Load an engine.

    Args:
        device: "auto", "cuda", "cuda:1", ...
        contexts: runs that can be on the GPU at the same time; each needs memory of its own.
        cuda_graphs: record a run when its shapes come again, and replay that until they change, which saves the time
            of launching many small kernels.

    Raises PackError: no such file, a package or GPU missing, made for another GPU or version, source changed, damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise PackError(f"model file {path} is missing; restore the pack (download it again)")
    trt, cuda = package(), open_gpu(device)
    problem = _stale(path, trt, cuda)
    if problem:
        raise PackError(f"{path}: {problem}")
    logger = make_logger(trt)
    trt.init_libnvinfer_plugins(logger, "")
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = True  # engines that carry the plugin of the warping network
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise PackError(f"{path}: {_why(trt.__version__, logger.errors)}; {_rebuild(path)}")
    return EngineSession(path, engine, trt, cuda, contexts, cuda_graphs)


def engine_problem(paths: Iterable[Path], device: str = "auto") -> str:
    """Why these engines cannot be used on this machine, all of them in one line, or nothing. Loads none of them."""
    try:
        trt, cuda = package(), open_gpu(device)
    except PackError as error:
        return str(error)
    found = {path: _stale(path, trt, cuda) for path in paths}
    return "; ".join(f"{path.name}: {problem}" for path, problem in found.items() if problem)


def package() -> Any:
    """The module tensorrt. Raises PackError when it is missing or too old."""
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise PackError(
            f"TensorRT engines need the package tensorrt, version {OLDEST} or 11 ({error}): pip install -e '.[trt]', "
            "or use the PyTorch or ONNX pack"
        ) from error
    if int(trt.__version__.split(".")[0]) < OLDEST:
        raise PackError(f"TensorRT {trt.__version__} is too old, {OLDEST} or later is needed: pip install -U tensorrt")
    return trt


def make_logger(trt: Any) -> Any:
    """A logger that keeps the errors, which are the only place where TensorRT says why it refuses something."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    return Logger()


def _stale(path: Path, trt: Any, cuda: Cuda) -> str:
    """What the note beside an engine says against using it, and how to rebuild it, or nothing."""
    tag = read_tag(path)
    reason = tag.stale(path, trt.__version__, cuda.gpu()) if tag else ""
    return f"{reason}; rebuild it: {tag.rebuild(path)}" if tag and reason else ""


def _why(version: str, errors: list[str]) -> str:
    """What TensorRT complained about, in words for the user."""
    text = " ".join(" ".join(errors).split())
    lower = text.lower()
    if "incompatible device" in lower or "compute capability" in lower or "expecting compute" in lower:
        return f"the engine was built for another GPU ({text[:200]})"
    if "version" in lower:
        return f"the engine was built with another TensorRT than {version}, which is installed ({text[:200]})"
    return f"damaged or not a TensorRT engine ({text[:200] or 'no reason given'})"


def _rebuild(path: Path) -> str:
    name = path.stem.removesuffix("_fp16").removesuffix("_fp32")
    return (
        f"build it on this machine: python scripts/cvt_onnx_to_trt.py --onnx_dir checkpoints/ditto_onnx "
        f"--trt_dir {path.parent} --nets {name} --force, or use another pack"
    )
