"""Functions of tensors recorded as CUDA graphs: one launch per call instead of one per operator.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from core.backends.out_of_memory import OutOfMemory

LOG = logging.getLogger(__name__)
WARM_UPS = 3  # calls before recording, in which libraries choose their algorithms and allocate

Function = Callable[..., Tensor]


class Recorder(Protocol):
    """Records calls; `CudaRecorder` is the real one."""

    def record(self, function: Function, inputs: tuple[Tensor, ...]) -> tuple[Callable[[], Any], Tensor]:
        """Run `function` on `inputs` and record it: a call that runs it again, and the tensor which that fills."""


class CudaRecorder:
    """Records on one GPU. All graphs of a recorder share memory, so they have to be replayed on one stream."""

    def __init__(self, device: torch.device):
        self._device, self._pool = device, None

    def record(self, function: Function, inputs: tuple[Tensor, ...]) -> tuple[Callable[[], Any], Tensor]:
        """See Recorder."""
        current = torch.cuda.current_stream(self._device)
        aside = torch.cuda.Stream(self._device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                function(*inputs)
        current.wait_stream(aside)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # other stages go on using the GPU meanwhile: only this thread's calls are held to the rules of recording
        with torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"):
            output = function(*inputs)
        return graph.replay, output


class _Recording:
    """One recorded call with its own input tensors."""

    def __init__(self, recorder: Recorder, function: Function, inputs: tuple[Tensor, ...]):
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        self._bound = inputs
        self._replay, self._output = recorder.record(function, self._inputs)

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for own, bound, given in zip(self._inputs, self._bound, inputs, strict=True):
            if given is not bound:
                own.copy_(given)
        self._bound = inputs
        self._replay()
        return self._output.clone()


class GraphedCall:
    """`function` of tensors, giving a tensor, recorded once per combination of input shapes.

    An input that is the same object as in the last call is taken to be unchanged and not copied again: constants are
    bound once. Where nothing can be recorded (a CPU, a function that waits for the GPU) the function itself is called.
    For the thread of one stream; calls from several threads take turns.
    """

    def __init__(self, function: Function, recorder: Recorder | None):
        """recorder: None calls the function itself, always."""
        self._function, self._recorder = function, recorder
        self._recordings: dict[tuple, _Recording] = {}
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """function(*inputs), in a tensor that no later call changes."""
        with self._lock:
            recording = self._recording(inputs)
            if recording is not None:
                return recording(inputs)
        return self._function(*inputs)

    def _recording(self, inputs: tuple[Tensor, ...]) -> _Recording | None:
        if self._recorder is None:
            return None
        key = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in inputs)
        if key not in self._recordings:
            try:
                self._recordings[key] = _Recording(self._recorder, self._function, inputs)
            except OutOfMemory:
                raise
            except RuntimeError as error:  # what CUDA and PyTorch raise when an operation cannot be recorded
                LOG.warning("CUDA graphs are not used: %s", str(error).strip().partition("\n")[0])
                self._recorder = None
                return None
        return self._recordings[key]


def recorder_for(device: torch.device, wanted: bool) -> CudaRecorder | None:
    """A recorder on a GPU if graphs are wanted."""
    return CudaRecorder(device) if wanted and device.type == "cuda" else None
