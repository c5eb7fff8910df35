"""Loss on clips that are not trained on: no dropout, no dropped condition, the same noise every time."""

from __future__ import annotations

import numpy as np
import torch

from core.models.lmdm import Lmdm
from MotionDiT.diffusion import VALIDATION, Diffusion, draw
from MotionDiT.losses import MotionLoss
from MotionDiT.options import TrainOptions
from MotionDiT.runtime import Runtime
from MotionDiT.windows import Windows

LARGEST_BATCH = 64


class Validation:
    """Call it with the network: {term: mean, "total_loss": sum of the terms} over all windows of all processes."""

    def __init__(self, windows: Windows, options: TrainOptions, runtime: Runtime):
        self._windows, self._runtime, self._seed = windows, runtime, options.seed
        self._size = min(options.batch_size, LARGEST_BATCH)

    @torch.no_grad()
    def __call__(self, network: Lmdm, diffusion: Diffusion, loss: MotionLoss) -> dict[str, float]:
        """Every process takes every P-th batch; all must call this."""
        runtime = self._runtime
        network.eval()
        sums = torch.zeros(len(loss.names) + 1, dtype=torch.float64)
        firsts = range(0, len(self._windows), self._size)
        for number in list(range(len(firsts)))[runtime.rank :: runtime.world]:
            chosen = np.arange(firsts[number], min(firsts[number] + self._size, len(self._windows)))
            fractions = np.random.default_rng([self._seed, number]).random((2, len(chosen)))
            motion, frame, cond = runtime.move(runtime.ready(self._windows.batch(chosen, fractions)))
            whole, clip = slice(0, len(chosen)), (motion.shape[1], motion.shape[2])
            draws = draw(self._seed, number, len(chosen), whole, clip, 0.0, motion.device, VALIDATION)
            with runtime.precision():
                noisy = diffusion(motion, draws.noise, draws.times)
                found = network.predict(noisy, frame, cond, draws.times, draws.keep)
            terms = loss(found, motion, frame).flatten().double().cpu()
            sums += torch.cat((terms * len(chosen), torch.tensor([float(len(chosen))], dtype=torch.float64)))
        sums = runtime.mean(sums.float().to(runtime.device)).double().cpu()
        means = (sums[:-1] / sums[-1]).tolist()
        return {**dict(zip(loss.names, means)), "total_loss": sum(means)}
