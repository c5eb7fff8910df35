"""One clip of the motion model with 50 guided steps: ours against a plain loop.

The plain loop runs the same layers with the same weights, but as two passes one after the other in every step, with
the condition encoder, the keys and values of the cross-attention and the scales of the step computed in each pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.backends.pytorch import choose_device
from core.models.lmdm import GUIDANCE, Lmdm, LmdmSizes
from core.models.sampler import Solver, make_solver
from core.packs.lmdm_runner import LmdmRunner
from core.settings.speed import Speed


def plain_pass(network: Lmdm, x: Tensor, frame: Tensor, cond: Tensor, at: Tensor, conditioned: bool) -> Tensor:
    """x (1, F, M), frame (1, M), cond (1, F, C), at (1,) -> clean motion of one pass, all of it from the inputs."""
    tokens, hidden = network.encode(cond, network.rotary.table(network.sizes.frames))
    if not conditioned:
        tokens, hidden = network.null_cond_embed, network.null_cond_hidden
    context = network.context(frame, tokens, hidden)
    return network.passes(x, context, network.steps(context, at).at(0))


def plain_clip(network: Lmdm, solver: Solver, frame: Tensor, cond: Tensor, x: Tensor, noise: Tensor) -> Tensor:
    """A clip (1, F, M) with two separate passes in every step; arguments as of `LmdmRunner.sample`, on the device."""

    def denoise(x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        at = torch.tensor([int(solver.times[i])], device=x.device)
        without = plain_pass(network, x, frame, cond, at, False)
        start = without + GUIDANCE * (plain_pass(network, x, frame, cond, at, True) - without)
        return solver.schedule.noise(x, start, int(solver.times[i])), start

    return solver.run(denoise, x, noise)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `work` takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@torch.inference_mode()
def lmdm(
    runs: int = 3, steps: int = 50, method: str = "ddim", speed: Speed = Speed(), sizes: LmdmSizes = LmdmSizes()
) -> dict[str, float]:
    """Rows of the table; the median of `runs` alternating runs each. Raises SystemExit when the two disagree."""
    torch.manual_seed(0)
    network = Lmdm(sizes).eval().to(choose_device(speed.device or "auto"))
    runner, solver = LmdmRunner(network, speed), make_solver(method, steps)
    rng = np.random.default_rng(0)
    frame, cond = rng.standard_normal((1, sizes.motion)), rng.standard_normal((1, sizes.frames, sizes.cond))
    x, noise = (
        runner.array(rng.standard_normal(shape))
        for shape in ((1, sizes.frames, sizes.motion), (solver.noises, 1, sizes.frames, sizes.motion))
    )

    def ours() -> np.ndarray:
        return runner.sample(frame, cond, x, noise, solver)

    def plain() -> np.ndarray:
        return plain_clip(network, solver, runner.array(frame), runner.array(cond), x, noise).cpu().numpy()

    expected, found = plain(), ours()
    difference = float(np.abs(found - expected).max() / expected.std())
    if not difference < 1e-3:
        raise SystemExit(f"error: the two loops disagree by {difference:.2g} standard deviations")
    ours_s, plain_s = zip(*((timed(ours)[0], timed(plain)[0]) for _ in range(runs)), strict=True)
    ratios = sorted(b / a for a, b in zip(ours_s, plain_s, strict=True))
    return {
        "threads": float(torch.get_num_threads()),
        f"motion clip of {sizes.frames} frames, {steps} guided steps ({method}), s": sorted(ours_s)[runs // 2],
        "the same as two separate passes per step, s": sorted(plain_s)[runs // 2],
        "times faster": ratios[runs // 2],
    }
