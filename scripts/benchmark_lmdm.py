"""One clip of the motion model with 50 guided steps: ours against a plain loop. Run by `benchmark.py --what lmdm`.

The plain loop runs the same layers with the same weights, but as two passes one after the other in every step, with
the condition encoder, the keys and values of the cross-attention and the scales of the step computed in each pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from core.models.lmdm import GUIDANCE, Lmdm, LmdmSizes
from core.models.lmdm_runner import LmdmRunner
from core.models.sampler import DdimPlan, Denoiser, cosine_schedule, ddim, ddim_plan


def plain_pass(network: Lmdm, x: Tensor, frame: Tensor, cond: Tensor, at: Tensor, conditioned: bool) -> Tensor:
    """x (1, F, M), frame (1, M), cond (1, F, C), at (1,) -> clean motion of one pass, all of it from the inputs."""
    tokens, hidden = network.encode(cond, network.rotary.table(network.sizes.frames))
    if not conditioned:
        tokens, hidden = network.null_cond_embed, network.null_cond_hidden
    context = network.context(frame, tokens, hidden)
    return network.passes(x, context, network.steps(context, at).at(0))


def plain_denoiser(network: Lmdm, frame: Tensor, cond: Tensor, plan: DdimPlan) -> Denoiser:
    """Two separate passes in every step."""
    schedule = cosine_schedule()

    def denoise(x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        at = torch.tensor([int(plan.times[i])])
        without = plain_pass(network, x, frame, cond, at, False)
        start = without + GUIDANCE * (plain_pass(network, x, frame, cond, at, True) - without)
        return schedule.noise(x, start, int(plan.times[i])), start

    return denoise


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Seconds that `work` takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@torch.inference_mode()
def lmdm(runs: int = 3, steps: int = 50, sizes: LmdmSizes = LmdmSizes()) -> dict[str, float]:
    """Rows of the table; the median of `runs` alternating runs each."""
    torch.manual_seed(0)
    network = Lmdm(sizes).eval()
    runner = LmdmRunner(network)
    plan, schedule = ddim_plan(cosine_schedule(), steps), cosine_schedule()
    frame, cond = torch.randn(1, sizes.motion), torch.randn(1, sizes.frames, sizes.cond)
    x, *noise = torch.randn(steps, 1, sizes.frames, sizes.motion)

    def ours() -> Tensor:
        return ddim(runner.clip(frame.numpy(), cond.numpy(), plan.times[:-1], schedule), x, noise, plan)

    def plain() -> Tensor:
        return ddim(plain_denoiser(network, frame, cond, plan), x, noise, plan)

    expected, found = plain(), ours()
    difference = float((found - expected).abs().max() / expected.std())
    if not difference < 1e-3:
        raise SystemExit(f"the two loops disagree by {difference:.2g} standard deviations")
    ours_s, plain_s = zip(*((timed(ours)[0], timed(plain)[0]) for _ in range(runs)), strict=True)
    ratios = sorted(b / a for a, b in zip(ours_s, plain_s, strict=True))
    return {
        "threads": float(torch.get_num_threads()),
        f"motion clip of {sizes.frames} frames, {steps} guided steps, s": sorted(ours_s)[runs // 2],
        "the same as two separate passes per step, s": sorted(plain_s)[runs // 2],
        "times faster": ratios[runs // 2],
    }
