"""Drives an Lmdm network for MotionDiffusion: numpy in and out, one preparation per clip, everything on one device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.models.lmdm import Lmdm
from core.models.sampler import Denoiser, Schedule


class LmdmRunner:
    """A `ClipModel` (see motion_diffusion.py) in float32 on the device of the network's weights."""

    def __init__(self, network: Lmdm):
        self.network = network.eval().requires_grad_(False)
        self.frames = network.sizes.frames

    def array(self, x: np.ndarray) -> Tensor:
        """float32 array -> tensor on the network's device."""
        return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(self.network.final_layer.weight.device)

    def numpy(self, x: Tensor) -> np.ndarray:
        """Tensor -> float32 array."""
        return x.cpu().numpy()

    @torch.inference_mode()
    def clip(self, cond_frame: np.ndarray, cond: np.ndarray, times: np.ndarray, schedule: Schedule) -> Denoiser:
        """Denoiser of one clip: cond_frame (1, 265), cond (1, F, C), times (n,) of its steps."""
        network = self.network
        context = network.prepare(self.array(cond_frame), self.array(cond))
        steps = network.steps(context, torch.from_numpy(times).to(context.hidden.device))

        @torch.inference_mode()
        def denoise(x: Tensor, i: int) -> tuple[Tensor, Tensor]:
            start = network.denoise(x, context, steps.at(i))
            return schedule.noise(x, start, int(times[i])), start

        return denoise
