"""A TensorRT engine as a session: execution contexts, streams, places for inputs and outputs, recorded graphs.

NOT RUN on a GPU yet, see `core.backends.tensorrt`, which loads engines.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.backends.cuda_memory import LEGACY_STREAM, Cuda, Event, GpuArray, Graph
from core.backends.session import CheckedSession, TensorSpec
from core.errors import PackError

LOG = logging.getLogger(__name__)
DYNAMIC = -1
Shapes = tuple[tuple[int, ...], ...]  # of all inputs, in their order


class _Slot:
    """One execution context with a stream, places for inputs and outputs, and its recorded graph.

    TensorRT forbids replaying a graph after its context has been changed, so there is one, for the shapes of the last
    run: https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html#cuda-graphs
    """

    def __init__(self, context: Any, cuda: Cuda):
        self.context, self._cuda = context, cuda
        self.stream = cuda.stream()
        self.busy: Event | None = None  # end of the work that was put on the context last
        self.shapes: Shapes | None = None  # which the context is set to, when its last run was begun
        self.graph: Graph | None = None
        self._buffers: dict[str, tuple[int, int]] = {}  # tensor -> address, bytes; kept between calls

    def reserve(self, name: str, size: int) -> int:
        """Address of at least `size` bytes for the tensor of that name."""
        address, have = self._buffers.get(name, (0, -1))
        if have < size:
            self.graph = None  # it knows the old address
            if have >= 0:
                self._cuda.free(address)
                del self._buffers[name]
            address = self._cuda.allocate(size, self.stream)
            self._cuda.wait(self.stream)  # from now on it is usable on any stream
            self._buffers[name] = address, size
        return address


class EngineSession(CheckedSession):
    """An engine. Calls may come from several threads; as many run at the same time as it has contexts.

    Inputs are numpy arrays, GpuArrays, or whatever has `__cuda_array_interface__`, such as PyTorch's tensors. A numpy
    array in page-locked memory must not change before the results are there.
    """

    def __init__(self, path: Path, engine: Any, trt: Any, cuda: Cuda, contexts: int = 1, cuda_graphs: bool = False):
        inputs: dict[str, TensorSpec] = {}
        outputs: dict[str, TensorSpec] = {}
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            side = inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs
            shape = tuple(None if length == DYNAMIC else int(length) for length in engine.get_tensor_shape(name))
            side[name] = TensorSpec(name, shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
        super().__init__(path, inputs, outputs)
        self._engine, self._cuda = engine, cuda  # the engine must outlive its contexts
        self.device = ("cuda", cuda.device)
        free = [name for name, spec in inputs.items() if spec.shape and spec.shape[0] is None]
        self.most_rows = min((engine.get_tensor_profile_shape(name, 0)[2][0] for name in free), default=None)
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
        foreign = stream is None and any(isinstance(array, _Foreign) for array in held.values())
        slot = self._free.get()
        try:
            where = slot.stream if stream is None else _handle(stream)
            if slot.busy is not None:
                self._cuda.follow(where, slot.busy)
            if foreign:
                self._cuda.follow(where, self._cuda.mark(LEGACY_STREAM))
            try:
                results = self._enqueue(slot, where, held)
            finally:  # a run that fails may have begun to fill the places of its inputs
                slot.busy = self._cuda.mark(where)
                self._cuda.keep_until(slot.busy)
            if foreign:  # their owner may reuse the memory for work that comes later
                self._cuda.follow(LEGACY_STREAM, slot.busy)
            for array in results.values():
                array.ready = slot.busy
            return results
        finally:
            self._free.put(slot)

    def upload(self, array: np.ndarray) -> GpuArray:
        """A copy on the GPU, for inputs that stay the same over many runs; complete on return."""
        self._cuda.use()
        array, stream = np.ascontiguousarray(array), LEGACY_STREAM
        held = GpuArray(self._cuda, array.shape, array.dtype, stream)
        self._cuda.upload(held.address, array, stream)
        self._cuda.wait(stream)  # from page-locked memory the copy would still be under way
        return held

    def _enqueue(self, slot: _Slot, stream: int, inputs: Mapping[str, Any]) -> dict[str, GpuArray]:
        """Bind everything and run. With graphs, whose addresses are fixed, inputs and outputs are copied on the GPU."""
        graphs = self._graphs  # may be switched off at any time, by `_record`
        again = self._set_shapes(slot, inputs)
        places = {name: self._placed(slot, name, array, stream, graphs) for name, array in inputs.items()}
        results = {name: self._result(slot, name, stream) for name in self.outputs}
        for name, array in results.items():
            places[name] = slot.reserve(name, array.nbytes) if graphs else array.address
        if graphs and slot.graph is not None:
            self._cuda.launch(slot.graph, stream)
        else:
            self._execute(slot, stream, places)
            if graphs and again:  # what comes once only is not worth recording
                self._record(slot)
        for name, array in results.items() if graphs else ():
            self._cuda.copy(array.address, places[name], array.nbytes, stream)
        return results

    def _set_shapes(self, slot: _Slot, inputs: Mapping[str, Any]) -> bool:
        """Set the context to the inputs' shapes; whether it was before. Raises PackError for impossible ones."""
        shapes = tuple(tuple(inputs[name].shape) for name in self.inputs)
        if shapes == slot.shapes:
            return True
        slot.graph, slot.shapes = None, None
        for name, shape in zip(self.inputs, shapes, strict=True):
            if not slot.context.set_input_shape(name, shape):
                raise PackError(f"{self.path}: '{name}' of shape {list(shape)} is beyond what the engine allows")
        slot.shapes = shapes
        return False

    def _execute(self, slot: _Slot, stream: int, places: Mapping[str, int]) -> None:
        """An ordinary run with the tensors at these addresses."""
        slot.graph = None
        for name, address in places.items():
            slot.context.set_tensor_address(name, address)
        if not slot.context.execute_async_v3(stream):
            raise RuntimeError(f"{self.path}: TensorRT could not run the engine")

    def _record(self, slot: _Slot) -> None:
        """Record the run that has just been: TensorRT wants one with the same shapes before."""

        def work() -> None:
            if not slot.context.execute_async_v3(slot.stream):
                raise RuntimeError("TensorRT refused")

        try:
            slot.graph = self._cuda.record(work, slot.stream)
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


def _handle(stream: Any) -> int:
    """Handle of a stream of PyTorch (`cuda_stream`), of cuda-python (`__cuda_stream__`), or given as a number."""
    if hasattr(stream, "cuda_stream"):
        return int(stream.cuda_stream)
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    return int(stream)
