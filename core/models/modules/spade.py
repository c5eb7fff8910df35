"""SPADE: normalisation whose scale and offset are read from a feature map (spec models.md 7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.spectral import SpectralConv2d
from core.models.modules.upsample import DoubledConv2d, double

HIDDEN = 128
SLOPE = 0.2
EPS = 1e-5


class Spade(nn.Module):
    """Scales and shifts a normalised map (B, n, H, W) by what it reads in a modulation map (B, m, H, W).

    With `doubled` the modulation map has half the size, (B, m, H/2, W/2), and is doubled first.
    """

    def __init__(self, channels: int, map_channels: int, doubled: bool = False) -> None:
        super().__init__()
        shared = DoubledConv2d(map_channels, HIDDEN) if doubled else nn.Conv2d(map_channels, HIDDEN, 3, padding=1)
        self.mlp_shared = nn.Sequential(shared, nn.ReLU(inplace=True))
        self.mlp_gamma = nn.Conv2d(HIDDEN, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(HIDDEN, channels, 3, padding=1)

    def forward(self, normal: Tensor, modulation: Tensor) -> Tensor:
        """normal: the instance-normalised map. Returns (B, n, H, W)."""
        hidden = self.mlp_shared(modulation)
        return torch.addcmul(normal + self.mlp_beta(hidden), normal, self.mlp_gamma(hidden))


class SpadeBlock(nn.Module):
    """Residual block of two modulated convolutions: (B, a, H, W) -> (B, b, H, W).

    With `doubled` map and modulation are doubled first: (B, a, H, W) -> (B, b, 2H, 2W).
    """

    def __init__(self, in_channels: int, out_channels: int, map_channels: int, doubled: bool = False) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.doubled = doubled
        self.conv_0 = SpectralConv2d(in_channels, middle, 3)
        self.conv_1 = SpectralConv2d(middle, out_channels, 3)
        self.norm_0 = Spade(in_channels, map_channels, doubled)
        self.norm_1 = Spade(middle, map_channels, doubled)
        self.learned = in_channels != out_channels
        if self.learned:
            self.conv_s = SpectralConv2d(in_channels, out_channels, 1, bias=False)
            self.norm_s = Spade(in_channels, map_channels, doubled)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x (B, a, H, W), modulation (B, m, H, W)."""
        normal = F.instance_norm(x, eps=EPS)
        if self.doubled:  # doubling leaves mean and variance as they are
            normal = double(normal)
        d = self.conv_0(F.leaky_relu_(self.norm_0(normal, modulation), SLOPE))
        d = self.conv_1(F.leaky_relu_(self.norm_1(F.instance_norm(d, eps=EPS), modulation), SLOPE))
        return d.add_(self._shortcut(x, normal, modulation))

    def _shortcut(self, x: Tensor, normal: Tensor, modulation: Tensor) -> Tensor:
        if self.learned:
            return self.conv_s(self.norm_s(normal, modulation))
        return double(x) if self.doubled else x
