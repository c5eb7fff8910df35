"""Convolutions of doubled maps without the wasted work.

After every value was doubled along H and W, a 3 x 3 window sees only 2 x 2 different values, and which ones depends on
the parity of row and column. So each of the four parities is a 2 x 2 convolution of the map before doubling: 16
products per input value instead of 36.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.fold import fold_norm

# taps of the small kernel from those of the large one, [parity][tap][tap of the large kernel]
_MERGE = ((((1, 0, 0), (0, 1, 1))), (((1, 1, 0), (0, 0, 1))))


def double(x: Tensor) -> Tensor:
    """Each value twice along H and W: (B, C, H, W) -> (B, C, 2H, 2W), (B, C, D, H, W) -> (B, C, D, 2H, 2W)."""
    return F.interpolate(x, scale_factor=(1.0,) * (x.dim() - 4) + (2.0, 2.0), mode="nearest")


class _Doubled:
    """What DoubledConv2d and DoubledConv3d share."""

    parities = False

    @torch.no_grad()
    def split(self) -> None:
        """Replace the kernel (b, a, ..., 3, 3) by those of the four parities, (4b, a, ..., 2, 2)."""
        if self.parities:
            return
        merge = torch.tensor(_MERGE, dtype=torch.float64, device=self.weight.device)
        kernels = torch.einsum("oi...yx,pty,qux->pqoi...tu", self.weight.double(), merge, merge).flatten(0, 2)
        grad = self.weight.requires_grad
        self.weight = nn.Parameter(kernels.to(self.weight.dtype).contiguous(), requires_grad=grad)
        self.bias = nn.Parameter(self.bias.repeat(4), requires_grad=grad)
        self.parities = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.parities:
            return super().forward(double(x))
        height, width = x.shape[-2:]
        y = super().forward(x).unflatten(1, (4, -1))
        parts = [y[:, 2 * p + q, ..., p : p + height, q : q + width] for p in (0, 1) for q in (0, 1)]
        rows = torch.stack((torch.stack(parts[:2], -1), torch.stack(parts[2:], -1)), -3)
        return rows.flatten(-2).flatten(-3, -2)


class DoubledConv2d(_Doubled, nn.Conv2d):
    """`double`, then a convolution k3: (B, a, H, W) -> (B, b, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def fold(self) -> None:
        """Same as `split`."""
        self.split()


class DoubledConv3d(_Doubled, nn.Conv3d):
    """`double`, then a convolution k3: (B, a, D, H, W) -> (B, b, D, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)


class UpBlock3d(nn.Module):
    """Doubling -> conv k3 -> norm -> ReLU. (B, a, D, H, W) -> (B, b, D, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = DoubledConv3d(in_channels, out_channels)
        self.norm = nn.BatchNorm3d(out_channels)

    def fold(self) -> None:
        """Put the batch norm into the convolution, then split that."""
        self.norm = fold_norm(self.conv, self.norm)
        self.conv.split()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.norm(self.conv(x)))
