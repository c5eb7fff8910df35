"""Dropout whose random numbers cost little on a CPU.

PyTorch draws a float for every element there, up to a seventh of a training step. 16 random bits per
element are enough: the keep probability is met within 1 / 131072.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BITS = 16


class Dropout(nn.Module):
    """As `nn.Dropout`, from the same default generator but with other draws on a CPU."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same, elements zeroed with probability p in training and the others scaled up."""
        return drop(x, self.p if self.training else 0.0)


def drop(x: Tensor, p: float) -> Tensor:
    """Zero elements with probability 0 <= p < 1, multiply the others by 1 / (1 - p)."""
    if not p:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)
    return x * keep_mask(x, p)


def keep_mask(x: Tensor, p: float) -> Tensor:
    """Shape and dtype of x: 0 with probability p, else 1 / (1 - p)."""
    count = x.numel()
    words = torch.empty(-(-count * BITS // 64), dtype=torch.int64).random_(-(1 << 63), None)
    kept = words.view(torch.int16)[:count].view(x.shape) >= round((p - 0.5) * (1 << BITS))
    return kept.to(x.dtype).mul_(1 / (1 - p))
