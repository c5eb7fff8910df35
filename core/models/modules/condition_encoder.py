"""Pre-norm transformer layer that encodes the condition rows (spec models.md 9.4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.attention import Attention
from core.models.modules.dropout import Dropout
from core.models.modules.rotary import Rotary, Table, rotate


class ConditionEncoderLayer(nn.Module):
    """Self-attention and feed-forward, each added to its input."""

    def __init__(self, width: int, heads: int, feedforward: int, rotary: Rotary, dropout: float = 0.0):
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.rotary = rotary  # unused here: checkpoints hold a copy of the frequencies in every layer

    def forward(self, x: Tensor, table: Table) -> Tensor:
        """(B, L, W) and the angles of L positions -> (B, L, W)."""
        normed = self.norm1(x)
        x = x + self.dropout(self.self_attn(rotate(normed, table), normed))
        hidden = self.dropout(F.gelu(self.linear1(self.norm2(x))))
        return x + self.dropout(self.linear2(hidden))
