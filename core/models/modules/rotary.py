"""Rotary position embedding over the whole width, before the heads are split (spec models.md 9.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Table = tuple[Tensor, Tensor]  # cosine and sine of the angles, each (L, W / 2)


class Rotary(nn.Module):
    """Holds the W / 2 frequencies; one instance is shared by every layer."""

    freqs: Tensor

    def __init__(self, width: int):
        super().__init__()
        pairs = torch.arange(width // 2, dtype=torch.float64) / (width // 2)
        self.register_buffer("freqs", (10000.0**-pairs).float())

    def table(self, length: int, first: int = 0) -> Table:
        """Angles of positions first .. first + length - 1."""
        positions = torch.arange(first, first + length, device=self.freqs.device, dtype=self.freqs.dtype)
        angles = positions[:, None] * self.freqs
        return angles.cos(), angles.sin()


def rotate(x: Tensor, table: Table) -> Tensor:
    """Turn neighbours (2i, 2i + 1) of x (..., L, W) by the angle of their position."""
    cos, sin = table
    if x.requires_grad and _has_complex(x):
        turned = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.complex(cos, sin)  # one pass each way
        return torch.view_as_real(turned).flatten(-2)
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)


def _has_complex(x: Tensor) -> bool:
    """Whether complex products are at hand: not in half precision, not in what is exported or compiled."""
    return x.dtype == torch.float32 and x.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling()
