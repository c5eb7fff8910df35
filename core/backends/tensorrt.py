"""TensorRT engines with the execution API of versions 10 and 11: named tensors, no arrays of bindings.

NOT RUN on a GPU yet: the project's machines have none with TensorRT. The tests use stand-ins for the two packages.
Needs the extra `trt` (tensorrt and cuda-python).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from core.backends.session import CheckedSession, TensorSpec
from core.errors import PackError

OLDEST = 10  # major version whose API is used here
DYNAMIC = -1


class Memory:
    """Device memory and a stream, through cuda-python."""

    def __init__(self, cuda: Any):
        self._cuda = cuda
        self.stream = self._do("cudaStreamCreate")
        self._buffers: dict[str, tuple[int, int]] = {}  # name -> address, bytes; kept between calls

    def reserve(self, name: str, size: int) -> int:
        """Address of at least `size` bytes for the tensor of that name."""
        address, have = self._buffers.get(name, (0, -1))
        if have < size:
            if have >= 0:
                self._do("cudaFree", address)
            address = int(self._do("cudaMalloc", max(size, 1)))
            self._buffers[name] = address, size
        return address

    def upload(self, name: str, array: np.ndarray) -> int:
        """Copy an array, which must stay alive until `wait`, to the device; returns its address."""
        address, kind = self.reserve(name, array.nbytes), self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)
        return address

    def download(self, name: str, array: np.ndarray) -> None:
        """Fill an array from the tensor of that name; complete after `wait`."""
        address, kind = self._buffers[name][0], self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)

    def wait(self) -> None:
        """Until all that was asked for is done."""
        self._do("cudaStreamSynchronize", self.stream)

    def _do(self, function: str, *arguments: Any) -> Any:
        status, *values = getattr(self._cuda, function)(*arguments)
        if int(status) != 0:
            raise RuntimeError(f"{function} failed: {getattr(status, 'name', status)}")
        return values[0] if values else None


class EngineSession(CheckedSession):
    """An engine with one execution context; for one thread at a time."""

    def __init__(self, path: Path, engine: Any, trt: Any, memory: Memory):
        inputs: dict[str, TensorSpec] = {}
        outputs: dict[str, TensorSpec] = {}
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            side = inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs
            shape = tuple(None if length == DYNAMIC else int(length) for length in engine.get_tensor_shape(name))
            side[name] = TensorSpec(name, shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
        super().__init__(path, inputs, outputs)
        self._engine, self._memory = engine, memory  # the engine must outlive its context
        self._context = engine.create_execution_context()
        if self._context is None:
            raise PackError(f"{path}: there is not enough free GPU memory to run this engine")

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See Session. Whole numbers are converted to the engine's kind, since older engines have no int64."""
        held = {name: self._converted(name, array) for name, array in inputs.items()}
        self.check(held)
        for name, array in held.items():
            if not self._context.set_input_shape(name, array.shape):
                raise PackError(f"{self.path}: '{name}' of shape {list(array.shape)} is beyond what the engine allows")
            self._context.set_tensor_address(name, self._memory.upload(name, array))
        results = {name: self._result(name) for name in self.outputs}
        if not self._context.execute_async_v3(int(self._memory.stream)):
            raise RuntimeError(f"{self.path}: TensorRT could not run the engine")
        for name, array in results.items():
            self._memory.download(name, array)
        self._memory.wait()
        return results

    def _converted(self, name: str, array: np.ndarray) -> np.ndarray:
        spec = self.inputs.get(name)
        whole = spec is not None and spec.dtype.kind == "i" and array.dtype.kind == "i"
        return np.ascontiguousarray(array, spec.dtype if whole else array.dtype)

    def _result(self, name: str) -> np.ndarray:
        """Host array for an output, whose place on the device the context is told."""
        shape = tuple(self._context.get_tensor_shape(name))
        if DYNAMIC in shape:
            raise PackError(f"{self.path}: the size of output '{name}' depends on the data; this cannot be run here")
        array = np.empty(shape, self.outputs[name].dtype)
        self._context.set_tensor_address(name, self._memory.reserve(name, array.nbytes))
        return array


def load_engine(path: Path) -> EngineSession:
    """Load an engine. Raises PackError: no such file, a package missing, made for another GPU or version, damaged."""
    path = Path(path)
    if not path.is_file():
        raise PackError(f"model file {path} is missing; restore the pack (download it again)")
    trt = _package("tensorrt")
    if int(trt.__version__.split(".")[0]) < OLDEST:
        raise PackError(f"TensorRT {trt.__version__} is too old, {OLDEST} or later is needed: pip install -U tensorrt")
    cuda = _cuda_runtime()
    logger = _logger(trt)
    trt.init_libnvinfer_plugins(logger, "")
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = True  # engines that carry the plugin of the warping network
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise PackError(f"{path}: {_why(trt.__version__, logger.errors)}; {_rebuild(path)}")
    return EngineSession(path, engine, trt, Memory(cuda))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PackError(
            f"TensorRT engines need the package {name} ({error}): pip install -e '.[trt]', "
            "or use the PyTorch or ONNX pack"
        ) from error


def _cuda_runtime() -> Any:
    """The module with cudaMalloc and so on; its place depends on the version of cuda-python."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        return _package("cuda.cudart")


def _logger(trt: Any) -> Any:
    """A logger that keeps the errors, which are the only place where TensorRT says why it refuses an engine."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    return Logger()


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
    return f"build it on this machine: trtexec --onnx={name}.onnx --saveEngine={path.name}, or use another pack"
