"""Multi-head attention whose queries, keys and values can be computed apart, so that constant ones are kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.dropout import drop


class Attention(nn.Module):
    """Parameters as in `torch.nn.MultiheadAttention`: rows of the input projection are queries, keys, values.

    Inputs are (B, L, W); queries, keys and values are (B, H, L, W / H). `dropout` acts on the weights, in training.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.width, self.heads, self.dropout = width, heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def queries(self, x: Tensor) -> Tensor:
        """(B, L, W) -> (B, H, L, d)."""
        return self._project(x, 0, 1)[0]

    def keys(self, x: Tensor) -> Tensor:
        """(B, L, W) -> (B, H, L, d)."""
        return self._project(x, 1, 1)[0]

    def values(self, x: Tensor) -> Tensor:
        """(B, L, W) -> (B, H, L, d)."""
        return self._project(x, 2, 1)[0]

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, H, L, d), (B, H, S, d), (B, H, S, d) -> (B, L, W), after the output projection."""
        dropout = self.dropout if self.training else 0.0
        if dropout and queries.device.type == "cpu":  # where the fused kernel has no dropout
            scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
            mixed = drop(scores.softmax(dim=-1), dropout) @ values
        else:
            mixed = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def forward(self, turned: Tensor, x: Tensor) -> Tensor:
        """Self-attention: queries and keys from `turned`, values from x, all (B, L, W)."""
        queries, keys = self._project(turned, 0, 2)
        return self.attend(queries, keys, self.values(x))

    def _project(self, x: Tensor, first: int, count: int) -> tuple[Tensor, ...]:
        """`count` blocks of the input projection from block `first` on, in one product."""
        rows = slice(first * self.width, (first + count) * self.width)
        out = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return out.unflatten(-1, (count, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
