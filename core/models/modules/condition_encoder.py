"""Pre-norm transformer layer that encodes the condition rows (spec models.md 9.4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.attention import Attention
from core.models.modules.rotary import Rotary, Table, rotate


class ConditionEncoderLayer(nn.Module):
    """Self-attention and feed-forward, each added to its input."""

    def __init__(self, width: int, heads: int, feedforward: int, rotary: Rotary):
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.rotary = rotary  # unused here: checkpoints hold a copy of the frequencies in every layer

    def forward(self, x: Tensor, table: Table) -> Tensor:
        """(B, L, W) and the angles of L positions -> (B, L, W)."""
        normed = self.norm1(x)
        x = x + self.self_attn(rotate(normed, table), normed)
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))
