"""TensorRT engines with the execution API of versions 10 and 11: named tensors, no arrays of bindings.

NOT RUN on a GPU yet: the project's machines have none with TensorRT. The tests use stand-ins for the two packages.
Needs the extra `trt` (tensorrt and cuda-python). How engines are made: `core.backends.tensorrt_build`.
"""

from __future__ import annotations

import importlib
import logging
import queue
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.backends.cuda_memory import LEGACY_STREAM, Cuda, Event, GpuArray, open_gpu
from core.backends.engine_tag import read_tag
from core.backends.session import CheckedSession, TensorSpec
from core.errors import PackError

LOG = logging.getLogger(__name__)
OLDEST = 10  # major version whose API is used here
DYNAMIC = -1
MOST_GRAPHS = 8  # recorded shapes of one context


class _Slot:
    """One execution context with a stream, places for inputs and outputs, and its recorded graphs."""

    def __init__(self, context: Any, cuda: Cuda):
        self.context, self._cuda = context, cuda
        self.stream = cuda.stream()
        self.busy: Event | None = None  # end of the work that was put on the context last
        self.graphs: dict[tuple[Any, ...], Any] = {}  # shapes of the inputs -> graph
        self._buffers: dict[str, tuple[int, int]] = {}  # tensor -> address, bytes; kept between calls

    def reserve(self, name: str, size: int) -> int:
        """Address of at least `size` bytes for the tensor of that name."""
        address, have = self._buffers.get(name, (0, -1))
        if have < size:
            self.graphs.clear()  # they know the old address
            if have >= 0:
                self._cuda.free(address)
                del self._buffers[name]
            address = self._cuda.allocate(size, self.stream)
            self._cuda.wait(self.stream)  # from now on it is usable on any stream
            self._buffers[name] = address, size
        return address


class EngineSession(CheckedSession):
    """An engine. Calls may come from several threads; as many run at the same time as it has contexts.

    Inputs are numpy arrays, GpuArrays, or whatever has `__cuda_array_interface__`, such as PyTorch's tensors.
    """

    def __init__(self, path: Path, engine: Any, trt: Any, cuda: Cuda, contexts: int = 1, cuda_graphs: bool = False):
        inputs: dict[str, TensorSpec] = {}
        outputs: dict[str, TensorSpec] = {}
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            side = inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs
            shape = tuple(None if length == DYNAMIC else int(length) for length in engine.get_tensor_shape(name))
            side[name] = TensorSpec(name, shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
        super().__init__(path, inputs, outputs)
        self._engine, self._cuda = engine, cuda  # the engine must outlive its contexts
        self.device = ("cuda", cuda.device)
        self._graphs = cuda_graphs
        self._free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for _ in range(contexts):
            context = engine.create_execution_context()
            if context is None:
                raise PackError(f"{path}: there is not enough free GPU memory to run this engine; use fewer streams")
            self._free.put(_Slot(context, cuda))

    def run(self, **inputs: Any) -> dict[str, np.ndarray]:
        """See Session. Whole numbers are converted to the engine's kind, since older engines have no int64."""
        return {name: array.numpy() for name, array in self.run_on_device(**inputs).items()}

    def run_on_device(self, stream: Any = None, **inputs: Any) -> dict[str, GpuArray]:
        """Put the work on a stream and return at once; the outputs stay on the GPU.

        Args:
            stream: a PyTorch or cuda-python stream or its handle, on which foreign inputs are written and whose later
                work may read the outputs; None for one of the session's own, which waits for the default stream.

        Raises PackError for wrong names, shapes or kinds and when the GPU is out of memory.
        """
        held = {name: self._converted(name, array) for name, array in inputs.items()}
        self.check(held)
        self._cuda.use()
        slot = self._free.get()
        try:
            where = slot.stream if stream is None else _handle(stream)
            if slot.busy is not None:
                self._cuda.follow(where, slot.busy)
            if stream is None and any(isinstance(array, _Foreign) for array in held.values()):
                self._cuda.follow(where, self._cuda.mark(LEGACY_STREAM))
            results = self._enqueue(slot, where, held)
            slot.busy = self._cuda.mark(where)
            self._cuda.keep_until(slot.busy)
            for array in results.values():
                array.ready = slot.busy
            return results
        finally:
            self._free.put(slot)

    def upload(self, array: np.ndarray) -> GpuArray:
        """A copy on the GPU, for inputs that stay the same over many runs."""
        self._cuda.use()
        array, stream = np.ascontiguousarray(array), LEGACY_STREAM
        held = GpuArray(self._cuda, array.shape, array.dtype, stream)
        self._cuda.upload(held.address, array, stream)
        held.ready = self._cuda.mark(stream)
        return held

    def _enqueue(self, slot: _Slot, stream: int, inputs: Mapping[str, Any]) -> dict[str, GpuArray]:
        """Bind everything and run. With graphs, whose addresses are fixed, inputs and outputs are copied on the GPU."""
        graphs = self._graphs  # may be switched off at any time, by `_record`
        for name, array in inputs.items():
            if not slot.context.set_input_shape(name, tuple(array.shape)):
                raise PackError(f"{self.path}: '{name}' of shape {list(array.shape)} is beyond what the engine allows")
            slot.context.set_tensor_address(name, self._placed(slot, name, array, stream, graphs))
        results = {name: self._result(slot, name, stream) for name in self.outputs}
        for name, array in results.items():
            place = slot.reserve(name, array.nbytes) if graphs else array.address
            slot.context.set_tensor_address(name, place)
        shapes = tuple(tuple(inputs[name].shape) for name in self.inputs)
        if graphs and shapes in slot.graphs:
            self._cuda.launch(slot.graphs[shapes], stream)
        elif not slot.context.execute_async_v3(stream):
            raise RuntimeError(f"{self.path}: TensorRT could not run the engine")
        elif graphs:
            self._record(slot, shapes)
        for name, array in results.items() if graphs else ():
            self._cuda.copy(array.address, slot.reserve(name, array.nbytes), array.nbytes, stream)
        return results

    def _record(self, slot: _Slot, shapes: tuple[Any, ...]) -> None:
        """Record a graph for these shapes; TensorRT wants one ordinary run with them before, which has just been."""
        if len(slot.graphs) >= MOST_GRAPHS:
            return

        def work() -> None:
            if not slot.context.execute_async_v3(slot.stream):
                raise RuntimeError("TensorRT refused")

        try:
            slot.graphs[shapes] = self._cuda.record(work, slot.stream)
        except RuntimeError as error:
            LOG.warning("%s cannot be recorded as a CUDA graph (%s); it runs without", self.path.name, error)
            self._graphs = False

    def _placed(self, slot: _Slot, name: str, array: Any, stream: int, fixed: bool) -> int:
        """Address of an input on the GPU; with `fixed` always the slot's own place for it."""
        if isinstance(array, np.ndarray):
            address = slot.reserve(name, array.nbytes)
            self._cuda.upload(address, array, stream)
            return address
        if isinstance(array, GpuArray) and array.ready is not None:
            self._cuda.follow(stream, array.ready)
        if not fixed:
            return array.address
        address = slot.reserve(name, array.nbytes)
        self._cuda.copy(address, array.address, array.nbytes, stream)
        return address

    def _converted(self, name: str, array: Any) -> Any:
        """The input as something with `shape`, `dtype` and, on the GPU, `address`."""
        if not isinstance(array, (np.ndarray, GpuArray)):
            return _Foreign(self.path, name, array)
        if isinstance(array, GpuArray):
            return array
        spec = self.inputs.get(name)
        whole = spec is not None and spec.dtype.kind == "i" and array.dtype.kind == "i"
        return np.ascontiguousarray(array, spec.dtype if whole else array.dtype)

    def _result(self, slot: _Slot, name: str, stream: int) -> GpuArray:
        shape = tuple(slot.context.get_tensor_shape(name))
        if DYNAMIC in shape:
            raise PackError(f"{self.path}: the size of output '{name}' depends on the data; this cannot be run here")
        return GpuArray(self._cuda, shape, self.outputs[name].dtype, stream)


class _Foreign:
    """Another library's array on the GPU."""

    def __init__(self, path: Path, name: str, array: Any):
        view = getattr(array, "__cuda_array_interface__", None)
        if view is None:
            raise PackError(f"{path}: input '{name}' is a {type(array).__name__}, not an array in host or GPU memory")
        if view.get("strides") is not None:
            raise PackError(f"{path}: input '{name}' must be contiguous")
        self.keep, self.shape, self.dtype = array, tuple(view["shape"]), np.dtype(view["typestr"])
        self.address = int(view["data"][0])
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def load_engine(path: Path, device: str = "auto", contexts: int = 1, cuda_graphs: bool = False) -> EngineSession:
    """Load an engine.

    Args:
        device: "auto", "cuda", "cuda:1", ...
        contexts: runs that can be on the GPU at the same time; each needs memory of its own.
        cuda_graphs: record each shape once and replay it, which saves the time of launching many small kernels.

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


def _handle(stream: Any) -> int:
    """Handle of a stream of PyTorch (`cuda_stream`), of cuda-python (`__cuda_stream__`), or given as a number."""
    if hasattr(stream, "cuda_stream"):
        return int(stream.cuda_stream)
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    return int(stream)


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
