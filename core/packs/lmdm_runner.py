"""Drives an Lmdm network for MotionDiffusion: numpy in and out, one preparation per clip, everything on one device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from core.backends.compiled import compiled
from core.backends.cuda_graph import GraphedCall, Recorder, recorder_for
from core.backends.lane import Lane
from core.backends.out_of_memory import out_of_memory
from core.models.lmdm import Lmdm
from core.models.sampler import Denoiser, Solver
from core.settings.speed import Speed


class LmdmRunner:
    """A `ClipModel` (see motion_diffusion.py) in float32 on the device of the network's weights.

    On a GPU the preparation of a clip and all its steps are one CUDA graph; noise of the steps and null condition are
    bound to it once.
    """

    def __init__(self, network: Lmdm, speed: Speed = Speed(), recorder: Recorder | None = None):
        """recorder: of graphs, in place of the one that suits the device."""
        self.network = network.eval().requires_grad_(False)
        self.frames = network.sizes.frames
        device = network.final_layer.weight.device
        self._lane = Lane(device)
        self._recorder = recorder or recorder_for(device, speed.cuda_graphs)
        layers = network.seqTransDecoder
        layers.forward = compiled(layers.forward, "the motion model", speed.compile)
        self._samplers: dict[Solver, GraphedCall] = {}

    def array(self, x: np.ndarray) -> Tensor:
        """float32 array -> tensor on the network's device."""
        with self._lane.active():
            return self._lane.upload(np.asarray(x, np.float32))

    def warm_up(self, solver: Solver) -> None:
        """Record the graph of `solver` (see ClipModel)."""
        if self._recorder is not None and solver not in self._samplers:
            sizes = self.network.sizes
            clip = (1, sizes.frames, sizes.motion)
            frame = (1, sizes.frames, sizes.motion + 1) if sizes.multi_cond_frame else (1, sizes.motion)
            x, noise = self.array(np.zeros(clip)), self.array(np.zeros((solver.noises, *clip)))
            self.sample(np.zeros(frame), np.zeros((*clip[:2], sizes.cond)), x, noise, solver)

    def sample(self, cond_frame: np.ndarray, cond: np.ndarray, x: Tensor, noise: Tensor, solver: Solver) -> np.ndarray:
        """One clip, see ClipModel. Raises InputError when the GPU's memory does not suffice."""
        if solver not in self._samplers:
            self._samplers[solver] = GraphedCall(self._clip(solver), self._recorder)
        with self._lane.active(), torch.inference_mode(), out_of_memory("the motion model"):
            clip = self._samplers[solver](self.array(cond_frame), self.array(cond), x, noise)
            return self._lane.download(clip)

    def _clip(self, solver: Solver) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """Function of condition frame, condition, start and step noise that makes the whole clip."""
        with self._lane.active():
            times = self._lane.upload(solver.times)
        self._lane.wait()

        def clip(cond_frame: Tensor, cond: Tensor, x: Tensor, noise: Tensor) -> Tensor:
            return solver.run(self.denoiser(cond_frame, cond, times, solver), x, noise)

        return clip

    def denoiser(self, cond_frame: Tensor, cond: Tensor, times: Tensor, solver: Solver) -> Denoiser:
        """Denoiser of one clip: cond_frame (1, 265), cond (1, F, C), times (n,) those of the solver, on the device."""
        network = self.network
        context = network.prepare(cond_frame, cond)
        steps = network.steps(context, times)

        def denoise(x: Tensor, i: int) -> tuple[Tensor, Tensor]:
            start = network.denoise(x, context, steps.at(i))
            return solver.schedule.noise(x, start, int(solver.times[i])), start

        return denoise
