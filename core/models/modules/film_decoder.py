"""Transformer decoder whose branches are scaled and shifted by the diffusion time (FiLM; spec models.md 9.5).

Split so that a sampler computes what its steps share only once: the keys and values of the condition tokens per clip,
the scales and shifts of all steps in one product.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.attention import Attention
from core.models.modules.dropout import Dropout
from core.models.modules.rotary import Rotary, Table, rotate

Memory = tuple[Tensor, Tensor]  # keys and values of one layer's cross-attention, each (B, H, S, d)


class Film(nn.Module):
    """Scale and shift from a vector."""

    def __init__(self, width: int):
        super().__init__()
        self.block = nn.Sequential(nn.Mish(), nn.Linear(width, 2 * width))

    def forward(self, t: Tensor) -> Tensor:
        """(..., W) -> (..., 2 W): scale, then shift."""
        return self.block(t)


def modulate(x: Tensor, film: Tensor) -> Tensor:
    """(1 + scale) x + shift, with x (B, L, W) and film (B, 2 W)."""
    scale, shift = film[:, None].chunk(2, dim=-1)
    return torch.addcmul(shift, x, 1 + scale)


class FilmDecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each modulated and added to its input."""

    def __init__(self, width: int, heads: int, feedforward: int, rotary: Rotary, dropout: float = 0.0):
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.multihead_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.film1 = Film(width)
        self.film2 = Film(width)
        self.film3 = Film(width)
        self.dropout = Dropout(dropout)
        self.rotary = rotary  # unused here: checkpoints hold a copy of the frequencies in every layer

    def films(self, t: Tensor) -> Tensor:
        """Time vectors (N, B, W) -> (N, 3, B, 2 W)."""
        return torch.stack((self.film1(t), self.film2(t), self.film3(t)), dim=1)

    def memory(self, turned: Tensor, tokens: Tensor) -> Memory:
        """Tokens (B, S, W), turned by the angles of their positions and as they are -> keys and values."""
        return self.multihead_attn.keys(turned), self.multihead_attn.values(tokens)

    def forward(self, x: Tensor, memory: Memory, films: Tensor, table: Table) -> Tensor:
        """One layer.

        Args:
            x: (B, L, W), or (b, L, W) where B is a multiple of b: all B start from the same rows, repeated in order.
            memory: keys and values, each (B, H, S, d).
            films: (3, B, 2 W).
            table: angles of L positions.

        Returns:
            (B, L, W).
        """
        normed = self.norm1(x)
        branch = self.dropout(self.self_attn(rotate(normed, table), normed))
        copies = films.shape[1] // x.shape[0]
        if copies > 1:
            x, branch = x.repeat(copies, 1, 1), branch.repeat(copies, 1, 1)
        x = x + modulate(branch, films[0])
        queries = self.multihead_attn.queries(rotate(self.norm2(x), table))
        x = x + modulate(self.dropout(self.multihead_attn.attend(queries, *memory)), films[1])
        hidden = self.dropout(F.gelu(self.linear1(self.norm3(x))))
        return x + modulate(self.dropout(self.linear2(hidden)), films[2])


class FilmDecoder(nn.Module):
    """The layers one after the other."""

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, rotary: Rotary, dropout: float = 0.0):
        super().__init__()
        block = (width, heads, feedforward, rotary, dropout)
        self.stack = nn.ModuleList(FilmDecoderLayer(*block) for _ in range(layers))

    def films(self, t: Tensor) -> Tensor:
        """Time vectors (N, B, W) -> (N, layers, 3, B, 2 W)."""
        return torch.stack([layer.films(t) for layer in self.stack], dim=1)

    def memory(self, tokens: Tensor, table: Table) -> tuple[Memory, ...]:
        """Normalised tokens (B, S, W) and the angles of their positions -> keys and values of every layer."""
        turned = rotate(tokens, table)
        return tuple(layer.memory(turned, tokens) for layer in self.stack)

    def forward(self, x: Tensor, memory: tuple[Memory, ...], films: Tensor, table: Table) -> Tensor:
        """x (B or b, L, W), memory of every layer, films (layers, 3, B, 2 W) -> (B, L, W)."""
        for i, layer in enumerate(self.stack):
            x = layer(x, memory[i], films[i], table)
        return x
