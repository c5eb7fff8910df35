"""Device, precision and the other processes: with accelerate, or one plain process."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from core.errors import InputError
from MotionDiT.options import TrainOptions
from MotionDiT.windows import Batch

LOG = logging.getLogger(__name__)


class Runtime:
    """One process on one device.

    Attributes:
        device: of the network. rank: number of this process among `world`. main: whether it writes files.
    """

    world = 1
    rank = 0

    def __init__(self, device: torch.device, precision: str = ""):
        if precision == "fp16":
            raise InputError("--mixed_precision fp16 needs gradient scaling: run with accelerate")
        self.device, self._half = device, precision == "bf16"

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        """What to call forward and `step` on. The optimizer's state stays with the one given."""
        return network.to(self.device), optimizer

    def precision(self) -> AbstractContextManager:
        """Context of the forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._half else nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Gradients, averaged over the processes."""
        loss.backward()

    def clip(self, network: nn.Module, longest: float) -> None:
        """Shorten the joint gradient to `longest`."""
        nn.utils.clip_grad_norm_(network.parameters(), longest)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes; all must call it."""
        return values

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def scaler_state(self, state: dict[str, Any] | None = None) -> dict[str, Any]:
        """State of the gradient scaler, {} without one; with `state`, set it first."""
        return {}

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Hand scalars to the trackers, if there are any; the main process does."""

    def open(self) -> None:
        """Begin the trackers' files in the run folder, which is there now."""

    def close(self) -> None:
        """Finish the trackers' files."""

    def ready(self, batch: Batch) -> tuple[Tensor, ...]:
        """A batch as tensors, pinned where that speeds up the way to a GPU. Called in a thread."""
        tensors = (torch.from_numpy(batch.kp_seq), torch.from_numpy(batch.kp_cond), torch.from_numpy(batch.aud_cond))
        return tuple(tensor.pin_memory() for tensor in tensors) if self.device.type == "cuda" else tensors

    def move(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Tensors on the device; does not wait for the copy."""
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)


class Accelerated(Runtime):
    """What `accelerate launch` has set up."""

    def __init__(self, accelerator: Any):
        super().__init__(accelerator.device)
        self._accelerator = accelerator
        self.world, self.rank = accelerator.num_processes, accelerator.process_index

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        """See Runtime; the network comes back wrapped, and only its own forward shares gradients."""
        return self._accelerator.prepare(network, optimizer)

    def backward(self, loss: Tensor) -> None:
        """See Runtime."""
        self._accelerator.backward(loss)

    def clip(self, network: nn.Module, longest: float) -> None:
        """See Runtime."""
        self._accelerator.clip_grad_norm_(network.parameters(), longest)

    def mean(self, values: Tensor) -> Tensor:
        """See Runtime."""
        return self._accelerator.reduce(values, "mean")

    def barrier(self) -> None:
        """See Runtime."""
        self._accelerator.wait_for_everyone()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See Runtime."""
        self._accelerator.log(dict(values), step=step)

    def open(self) -> None:
        """See Runtime."""
        self._accelerator.init_trackers("tensorboard")

    def close(self) -> None:
        """See Runtime."""
        self._accelerator.end_training()

    def scaler_state(self, state: dict[str, Any] | None = None) -> dict[str, Any]:
        """See Runtime."""
        scaler = self._accelerator.scaler
        if scaler is not None and state:
            scaler.load_state_dict(state)
        return {} if scaler is None else scaler.state_dict()


def make_runtime(options: TrainOptions) -> Runtime:
    """The runtime that the options ask for. Raises InputError for a missing package or device."""
    runtime = _accelerated(options) if options.use_accelerate else _plain(options)
    if runtime.device.type == "cpu":
        torch.set_num_threads(options.cpu_threads or max(1, _cores() // runtime.world))
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
    if runtime.main:
        threads = f", {torch.get_num_threads()} threads each" if runtime.device.type == "cpu" else ""
        LOG.info("training on %s, %d process(es)%s", runtime.device, runtime.world, threads)
    return runtime


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plain(options: TrainOptions) -> Runtime:
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name} cannot be used ({str(error).splitlines()[0]})") from None
    return Runtime(device, options.mixed_precision)


def _accelerated(options: TrainOptions) -> Runtime:
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise InputError(
            "training needs accelerate: pip install -e '.[train]'; or train with --no-use_accelerate"
        ) from None
    wrapper = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    tracker = "tensorboard" if importlib.util.find_spec("tensorboard") else None
    if not tracker:
        LOG.warning("no TensorBoard events: tensorboard is missing (pip install -e '.[train]')")
    try:
        accelerator = Accelerator(
            mixed_precision=options.mixed_precision or None,
            kwargs_handlers=[wrapper],
            log_with=tracker,
            project_dir=str(options.run_folder),
        )
    except ValueError as error:  # e.g. half precision on a device that has none
        raise InputError(f"accelerate: {error}") from None
    return Accelerated(accelerator)
