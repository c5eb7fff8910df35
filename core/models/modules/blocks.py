"""Convolution blocks shared by the appearance extractor and the warping network (convolution, batch norm, ReLU).

Child names are those of the published state dicts. `fold()` puts the batch norm that follows a convolution into its
weights; call it (or `fold_constants` of the whole network) after loading and before inference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.fold import fold_norm


class _ConvNorm(nn.Module):
    """conv -> norm, the norm foldable into the convolution."""

    def __init__(self, conv: nn.Module, norm: nn.Module):
        super().__init__()
        self.conv = conv
        self.norm = norm

    def fold(self) -> None:
        self.norm = fold_norm(self.conv, self.norm)


class SameBlock2d(_ConvNorm):
    """conv k3 -> norm -> ReLU, or leaky ReLU when `slope` is not 0. (B, a, H, W) -> (B, b, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, slope: float = 0.0):
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels))
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.leaky_relu(x, self.slope, inplace=True) if self.slope else torch.relu_(x)


class DownBlock2d(_ConvNorm):
    """conv k3 -> norm -> ReLU -> 2 x 2 average. (B, a, H, W) -> (B, b, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(torch.relu_(self.norm(self.conv(x))), 2)


class DownBlock3d(_ConvNorm):
    """conv k3 -> norm -> ReLU -> average over (1, 2, 2). (B, a, D, H, W) -> (B, b, D, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(nn.Conv3d(in_channels, out_channels, 3, padding=1), nn.BatchNorm3d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(torch.relu_(self.norm(self.conv(x))), (1, 2, 2))


class ResBlock3d(nn.Module):
    """Pre-activation residual block of two convolutions. (B, c, D, H, W) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(channels)  # stands before a convolution with zero padding: cannot be folded
        self.norm2 = nn.BatchNorm3d(channels)

    def fold(self) -> None:
        self.norm2 = fold_norm(self.conv1, self.norm2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu_(self.norm1(x)))
        return self.conv2(torch.relu_(self.norm2(y))).add_(x)
