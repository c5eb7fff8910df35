"""A GPU stream per stage, with copies to and from it; on the CPU the same calls do nothing but convert."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Marked:
    """A tensor that another lane may use.

    Attributes:
        tensor: on the device, possibly still being computed.
        ready: CUDA event after which it is there; None on the CPU.
    """

    tensor: Tensor
    ready: Any = None


class Lane:
    """Work of one thread on one device: a CUDA stream of its own, so that stages overlap and wait for nobody else.

    Calls may come from several threads; the stream takes their work one after the other.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def active(self) -> AbstractContextManager:
        """Context in which this lane's stream is the current one; `upload` and `download` belong into it."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def upload(self, array: np.ndarray) -> Tensor:
        """A copy of `array` on the device. From pinned memory on a GPU, so that nobody waits for it."""
        host = torch.tensor(array)
        if self._stream is None:
            return host.to(self.device)
        return host.pin_memory().to(self.device, non_blocking=True)

    def download(self, tensor: Tensor) -> np.ndarray:
        """The content of `tensor` in host memory, when it is there; waits for this lane alone.

        On a GPU the array is a view of pinned memory, which PyTorch keeps and hands out again once the array is gone.
        """
        if self._stream is None:
            return tensor.cpu().numpy()
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event()
        done.record(self._stream)
        done.synchronize()
        return host.numpy()

    def mark(self, tensor: Tensor) -> Marked:
        """Hand a tensor of this lane on."""
        if self._stream is None:
            return Marked(tensor)
        ready = torch.cuda.Event()
        ready.record(self._stream)
        return Marked(tensor, ready)

    def take(self, marked: Marked) -> Tensor:
        """A tensor of another lane, for use in this one."""
        if self._stream is None:
            return marked.tensor.to(self.device)
        if marked.ready is not None:
            self._stream.wait_event(marked.ready)
        if marked.tensor.is_cuda:
            marked.tensor.record_stream(self._stream)  # its memory must not be reused before this lane is through
        return marked.tensor.to(self.device, non_blocking=True)

    def wait(self) -> None:
        """Block until everything in this lane is done."""
        if self._stream is not None:
            self._stream.synchronize()
