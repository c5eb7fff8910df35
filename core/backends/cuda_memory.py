"""Memory, streams, events and graphs of one GPU, through cuda-python. No other file calls it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from core.backends.engine_tag import Gpu
from core.errors import PackError

LOG = logging.getLogger(__name__)
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
UNLOADING = 4  # cudaErrorCudartUnloading: the process ends, and CUDA went before our last objects
LEGACY_STREAM = 1  # handle of the default stream that others use unless told otherwise
KEPT_MEMORY = 1 << 30  # bytes of freed memory that stay with the process


class OutOfGpuMemory(PackError):
    """The GPU has no room for an array."""


class Event:
    """A place in a stream; destroyed with this object."""

    def __init__(self, cuda: Cuda, handle: int):
        self._cuda, self.handle = cuda, handle

    def __del__(self) -> None:
        self._cuda.forget("cudaEventDestroy", self.handle)


class Graph:
    """A recorded graph; destroyed with this object."""

    def __init__(self, cuda: Cuda, handle: Any):
        self._cuda, self.handle = cuda, handle

    def __del__(self) -> None:
        self._cuda.forget("cudaGraphExecDestroy", self.handle)


class GpuArray:
    """An array on a GPU, complete after `ready`. PyTorch and CuPy read it without a copy.

    Its memory is used again after the work that its stream and the default one have when it goes. Whoever reads it on
    another stream keeps it until that is done.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: np.dtype, stream: int):
        self._cuda, self._stream = cuda, stream
        self._lent = False  # whether other libraries may be reading it
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self.ready: Event | None = None
        self.address = cuda.allocate(self.nbytes, stream)

    def numpy(self) -> np.ndarray:
        """A copy in host memory."""
        self._cuda.use()
        array = np.empty(self.shape, self.dtype)
        if self.ready is not None:
            self._cuda.follow(self._stream, self.ready)
        self._cuda.download(array, self.address, self._stream)
        self._cuda.wait(self._stream)
        return array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Waits until the contents are complete, since readers are told of no stream."""
        self._cuda.use()
        self._cuda.wait(self._stream)
        self._lent = True
        typestr = self.dtype.str
        return {"shape": self.shape, "typestr": typestr, "data": (self.address, False), "strides": None, "version": 3}

    def __del__(self) -> None:
        if not getattr(self, "address", 0):
            return
        if self._lent:
            self._cuda.keep_until_now(self._stream, LEGACY_STREAM)
        self._cuda.free(self.address)


class Cuda:
    """The CUDA runtime on one GPU. `use` must have been called in every thread before anything else."""

    def __init__(self, runtime: Any, driver: Any, device: int = 0):
        """runtime, driver: cuda-python's modules of these names."""
        self._runtime, self.device = runtime, device
        self.use()
        self._keep_memory(driver)
        self._releases = self.stream()  # memory is given back here, when all that uses it is done

    def use(self) -> None:
        """Make the GPU the calling thread's current one."""
        self._do("cudaSetDevice", self.device)

    def gpu(self) -> Gpu:
        """Name and compute capability."""
        found = self._do("cudaGetDeviceProperties", self.device)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        return Gpu(name.rstrip("\0"), (int(found.major), int(found.minor)))

    def stream(self) -> int:
        """Handle of a new stream that does not wait for the default one."""
        return int(self._do("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking))

    def wait(self, stream: int) -> None:
        """Until all that was put on a stream is done."""
        self._do("cudaStreamSynchronize", stream)

    def allocate(self, size: int, stream: int) -> int:
        """Address of `size` bytes, usable for what follows on the stream. Raises OutOfGpuMemory."""
        return int(self._do("cudaMallocAsync", max(size, 1), stream))

    def keep_until(self, event: Event) -> None:
        """Let memory that is freed from now on be reused after the event only."""
        self.follow(self._releases, event)

    def keep_until_now(self, *streams: int) -> None:
        """The same for all that was put on these streams; for finalisers, which run in any thread."""
        with self._at_home():
            for stream in streams:
                self.keep_until(self.mark(stream))

    def free(self, address: int) -> None:
        """Give memory back once all events named to `keep_until` have happened."""
        self.forget("cudaFreeAsync", address, self._releases)

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        """Copy an array, which must stay alive until it is done, to the GPU."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        """Fill an array from the GPU; complete after `wait`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy within the GPU."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._do("cudaMemcpyAsync", target, source, size, kind, stream)

    def mark(self, stream: int) -> Event:
        """An event at this place of a stream."""
        event = self._do("cudaEventCreateWithFlags", self._runtime.cudaEventDisableTiming)
        self._do("cudaEventRecord", event, stream)
        return Event(self, int(event))

    def follow(self, stream: int, event: Event) -> None:
        """Let what comes next on a stream wait for an event."""
        self._do("cudaStreamWaitEvent", stream, event.handle, 0)

    def forget(self, function: str, *arguments: Any) -> None:
        """Give something back. Work that waits for an event, or a graph that is running, still comes to its end."""
        status = getattr(self._runtime, function)(*arguments)[0]
        if int(status) not in (0, UNLOADING):
            LOG.warning("%s failed: %s", function, getattr(status, "name", status))  # finalisers cannot raise

    def record(self, work: Callable[[], None], stream: int) -> Graph:
        """What `work` puts on a stream as a graph that can be launched, without running it. Raises RuntimeError."""
        self._do("cudaStreamBeginCapture", stream, self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        finally:
            template = self._do("cudaStreamEndCapture", stream)
        try:
            return Graph(self, self._do("cudaGraphInstantiate", template, 0))
        finally:
            self._do("cudaGraphDestroy", template)

    def launch(self, graph: Graph, stream: int) -> None:
        """Run a recorded graph."""
        self._do("cudaGraphLaunch", graph.handle, stream)

    def _keep_memory(self, driver: Any) -> None:
        """Let freed memory stay with the process: by default every synchronisation hands it back to the system, and
        asking for it anew in each frame takes milliseconds.
        """
        pool = self._do("cudaDeviceGetDefaultMemPool", self.device)
        threshold = self._runtime.cudaMemPoolAttr.cudaMemPoolAttrReleaseThreshold
        self._do("cudaMemPoolSetAttribute", pool, threshold, driver.cuuint64_t(KEPT_MEMORY))

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        """With this GPU as the thread's current one, and afterwards the one before."""
        before = self._do("cudaGetDevice")
        self.use()
        try:
            yield
        finally:
            self._do("cudaSetDevice", before)

    def _do(self, function: str, *arguments: Any) -> Any:
        status, *values = getattr(self._runtime, function)(*arguments)
        if int(status) == OUT_OF_MEMORY:
            raise OutOfGpuMemory("the GPU is out of memory; close other programs that use it or take a smaller batch")
        if int(status) != 0:
            raise RuntimeError(f"{function} failed: {getattr(status, 'name', status)}")
        return values[0] if values else None


def open_gpu(device: str = "auto") -> Cuda:
    """The GPU "cuda", "cuda:1" or "auto" (the first one). Raises PackError when a package or the GPU is missing."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cuda"):
        raise PackError(f"TensorRT engines run on a GPU only, not on '{device}'; use the PyTorch or ONNX pack")
    runtime, driver = _modules()
    status, *count = runtime.cudaGetDeviceCount()
    index = int(number or 0)
    if int(status) != 0 or not count or count[0] <= index:
        found = f"{count[0]} found" if int(status) == 0 and count else f"{getattr(status, 'name', status)}"
        raise PackError(f"TensorRT needs an NVIDIA GPU and its driver; there is no GPU {index} ({found})")
    return Cuda(runtime, driver, index)


def _modules() -> tuple[Any, Any]:
    """The modules with cudaMallocAsync and with cuuint64_t; their place depends on the version of cuda-python."""
    try:
        return importlib.import_module("cuda.bindings.runtime"), importlib.import_module("cuda.bindings.driver")
    except ImportError:
        pass
    try:
        return importlib.import_module("cuda.cudart"), importlib.import_module("cuda.cuda")
    except ImportError as error:
        raise PackError(
            f"TensorRT engines need the package cuda-python ({error}): pip install -e '.[trt]', "
            "or use the PyTorch or ONNX pack"
        ) from error
