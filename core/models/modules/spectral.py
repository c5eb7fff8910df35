"""Convolutions whose stored weight is divided by its largest singular value (spec models.md 7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POWER_STEPS = 5


class SpectralConv2d(nn.Module):
    """Conv2d that is stored as `weight_orig`, `weight_u`, `weight_v` and, if it has one, `bias`.

    In use the weight is weight_orig / sigma with sigma = u . (W v), W the weight as a matrix (out, in * k * k); u and v
    are taken as stored. `fold()` divides once and for all.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_orig = nn.Parameter(nn.init.kaiming_normal_(torch.empty(out_channels, in_channels, kernel, kernel)))
        u, v = _singular_vectors(self.weight_orig.detach().flatten(1))
        self.register_buffer("weight_u", u)
        self.register_buffer("weight_v", v)
        self.padding = kernel // 2

    def sigma(self) -> Tensor:
        """The spectral value, a float64 scalar. May be negative for weights that were never trained."""
        return self.weight_u.double() @ (self.weight_orig.double().flatten(1) @ self.weight_v.double())

    @torch.no_grad()
    def fold(self) -> None:
        """Replace the three stored tensors by the weight itself."""
        if hasattr(self, "weight"):
            return
        self.weight = nn.Parameter(self._divided(), requires_grad=self.weight_orig.requires_grad)
        del self.weight_orig, self.weight_u, self.weight_v

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        weight = self.weight if hasattr(self, "weight") else self._divided()
        return F.conv2d(x, weight, self.bias, padding=self.padding)

    def _divided(self) -> Tensor:
        return (self.weight_orig.double() / self.sigma()).to(self.weight_orig.dtype)


def _singular_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Rough left and right singular vectors (n,), (m,) of the largest singular value of a random matrix (n, m)."""
    u = F.normalize(torch.ones_like(matrix[:, 0]), dim=0)
    for _ in range(POWER_STEPS):
        v = F.normalize(matrix.T @ u, dim=0)
        u = F.normalize(matrix @ v, dim=0)
    return u, v
