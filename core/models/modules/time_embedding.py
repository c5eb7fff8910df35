"""Sinusoidal embedding of the diffusion time (spec models.md 9.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SinusoidalTime(nn.Module):
    """Times (N,) -> (N, W) float32: W / 2 sines, then W / 2 cosines."""

    def __init__(self, width: int):
        super().__init__()
        self.half = width // 2

    def forward(self, times: Tensor) -> Tensor:
        """(N,) integers -> (N, W)."""
        steps = torch.arange(self.half, device=times.device, dtype=torch.float32)
        angles = times[:, None].float() * torch.exp(steps * (-math.log(10000) / (self.half - 1)))
        return torch.cat((angles.sin(), angles.cos()), dim=-1)
