"""One optimiser step, and the random numbers of training (spec difftalk.md sections 5 and 10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from DiffTalk.config import DIFFUSION_STEPS


def optimiser_step(
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    clip_norm: float,
    clip: Callable[..., Any] = torch.nn.utils.clip_grad_norm_,
) -> Tensor:
    """Clip the gradients to a total norm, step, clear them. Returns the norm before clipping.

    Parameters that the loss does not reach count with gradient 0, as in the reference: only weight decay moves them.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    total = clip(parameters, clip_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return total


def draw(shape: tuple[int, ...], seed: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Timesteps (B,) and unit noise of `shape` (B, 3, h, w) on the CPU, decided by the numbers in `seed` alone."""
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
    t = torch.randint(0, DIFFUSION_STEPS, shape[:1], generator=generator)
    return t, torch.randn(shape, generator=generator)
