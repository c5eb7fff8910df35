"""ConvNeXt V2 blocks with tensors in channels-last memory, where every change of layout is free."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6  # of all norms here


class ChannelNorm(nn.Module):
    """Layer norm over the channels at each position. (B, c, H, W) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, EPS)
        return x.permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation. (B, H, W, c) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def gain(self, y: Tensor) -> Tensor:
        """The factor of each channel, (B, 1, 1, c): the output is y * gain + beta."""
        size = torch.linalg.vector_norm(y.float(), dim=(1, 2), keepdim=True)
        return torch.addcmul(torch.ones_like(self.gamma), self.gamma, size / (size.mean(-1, keepdim=True) + EPS))

    def forward(self, y: Tensor) -> Tensor:
        return torch.addcmul(self.beta, y, self.gain(y).to(y.dtype))


class ConvNextBlock(nn.Module):
    """7 x 7 per channel, then two linear layers with a width of 4 c between. (B, c, H, W) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)  # (B, H, W, c)
        y = F.gelu(self.pwconv1(self.norm(y)))  # (B, H, W, 4c)
        y = self.pwconv2(self.grn(y))  # (B, H, W, c)
        return x + y.permute(0, 3, 1, 2)
