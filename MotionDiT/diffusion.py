"""Forward diffusion of training: noise schedule, and the random numbers of a step (spec training.md 9.1, 9.2)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.models.sampler import TRAIN_STEPS, cosine_schedule

# What a step's random numbers are for.
NOISE, FRAME, NETWORK, VALIDATION = b"noise", b"frame", b"network", b"validation"


class Diffusion(nn.Module):
    """Mixes clean motion with noise."""

    signal: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        alphas = cosine_schedule().alphas
        self.register_buffer("signal", torch.from_numpy(np.sqrt(alphas)), persistent=False)
        self.register_buffer("spread", torch.from_numpy(np.sqrt(np.float32(1) - alphas)), persistent=False)

    def forward(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Motion (B, S, M), noise of its shape, times (B,) int64 -> noisy motion."""
        return self.signal[times][:, None, None] * clean + self.spread[times][:, None, None] * noise


@dataclass(frozen=True)
class Draws:
    """Random numbers of B samples: times (B,) int64, noise (B, S, M), keep (B,) bool (False: train unconditioned)."""

    times: Tensor
    noise: Tensor
    keep: Tensor


def draw(
    seed: int,
    step: int,
    count: int,
    share: slice,
    clip: tuple[int, int],
    drop: float,
    device: torch.device | str,
    purpose: bytes = NOISE,
) -> Draws:
    """The random numbers of a step, a function of seed and step alone, so that nothing is kept for --resume.

    Args:
        count: samples of all processes together. share: those of this process.
        clip: S and M. drop: probability that the condition is dropped.
    """
    generator = torch.Generator(device).manual_seed(mix(seed, step, purpose))
    times = torch.randint(TRAIN_STEPS, (count,), generator=generator, device=device)
    keep = torch.rand(count, generator=generator, device=device) >= drop
    noise = torch.randn((count, *clip), generator=generator, device=device)
    return Draws(times[share], noise[share], keep[share])


def shown(seed: int, step: int, count: int, drop: float, device: torch.device | str) -> Tensor:
    """(count, 1) of ones, and of zeros for the samples that shall not see their condition frame."""
    if not drop:
        return torch.ones(count, 1, device=device)
    generator = torch.Generator(device).manual_seed(mix(seed, step, FRAME))
    return (torch.rand((count, 1), generator=generator, device=device) >= drop).float()


def mix(seed: int, step: int, purpose: bytes, rank: int = 0) -> int:
    """A 63-bit seed from these numbers."""
    words = np.random.SeedSequence([seed, step, rank, zlib.crc32(purpose)]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])
