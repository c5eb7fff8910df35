"""The yardstick of `benchmark.py --what train`: the training loop as spec training.md 7 to 10 tells it, step by step.

Nothing is shared, fused or read ahead: samples are put together one by one and collated, attention is PyTorch's module,
rotations are computed in every layer, each part has its own loss terms, each term becomes a Python float in every
step, and the optimiser goes through the parameters one by one.
"""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from core.models.lmdm import LmdmSizes
from core.models.modules.time_embedding import SinusoidalTime
from core.motion import SLICES
from MotionDiT.features import Clip
from MotionDiT.windows import index_map


class PlainDataset(Dataset):
    """One window per item; everything is in memory."""

    def __init__(self, clips: list[Clip], length: int):
        self.clips, self.length = clips, length
        self.index = index_map([clip.frames for clip in clips], length).tolist()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> dict[str, np.ndarray]:
        number, first = self.index[item]
        clip, rows = self.clips[number], slice(first, first + self.length)
        face = random.randint(0, clip.frames - 1)
        columns = [clip.arrays["aud"][rows]]
        for name, array in clip.arrays.items():
            if name == "emo":
                columns.append(np.stack([array[rows].mean(0)] * self.length))
            elif name == "sc":
                columns.append(np.stack([array[face]] * self.length))
            elif name not in ("mtn", "aud"):
                columns.append(array[rows])
        motion = clip.arrays["mtn"]
        return {"seq": motion[rows], "frame": motion[first - 1], "cond": np.concatenate(columns, -1)}


class PlainRotary(nn.Module):
    """Rotates neighbouring channels; angles are computed in every call."""

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("freqs", 10000 ** (-torch.arange(0, width, 2).float() / width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, W) -> the same, turned."""
        angles = torch.outer(torch.arange(x.shape[1], device=x.device).float(), self.freqs).repeat_interleave(2, dim=-1)
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return x * angles.cos() + torch.stack((-b, a), dim=-1).flatten(-2) * angles.sin()


class PlainEncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, width: int, heads: int, feedforward: int, rotary: PlainRotary, dropout: float):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, feedforward), nn.Linear(feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop, self.rotary = nn.Dropout(dropout), rotary

    def attend(self, x: Tensor) -> Tensor:
        """Self-attention of the normed input."""
        turned = self.rotary(x)
        return self.drop(self.self_attn(turned, turned, x, need_weights=False)[0])

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, W) -> (B, L, W)."""
        x = x + self.attend(self.norm1(x))
        return x + self.drop(self.linear2(self.drop(F.gelu(self.linear1(self.norm2(x))))))


class PlainFilm(nn.Module):
    """Scale and shift."""

    def __init__(self, width: int):
        super().__init__()
        self.block = nn.Sequential(nn.Mish(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(B, L, W), (B, W) -> (B, L, W)."""
        scale, shift = self.block(t)[:, None].chunk(2, dim=-1)
        return (scale + 1) * x + shift


class PlainDecoderLayer(PlainEncoderLayer):
    """With cross-attention, and FiLM behind each branch."""

    def __init__(self, width: int, heads: int, feedforward: int, rotary: PlainRotary, dropout: float):
        super().__init__(width, heads, feedforward, rotary, dropout)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm3 = nn.LayerNorm(width)
        self.film1, self.film2, self.film3 = PlainFilm(width), PlainFilm(width), PlainFilm(width)

    def forward(self, x: Tensor, memory: Tensor, t: Tensor) -> Tensor:
        """(B, L, W), (B, S, W), (B, W) -> (B, L, W)."""
        x = x + self.film1(self.attend(self.norm1(x)), t)
        queries, keys = self.rotary(self.norm2(x)), self.rotary(memory)
        x = x + self.film2(self.drop(self.multihead_attn(queries, keys, memory, need_weights=False)[0]), t)
        return x + self.film3(self.drop(self.linear2(self.drop(F.gelu(self.linear1(self.norm3(x)))))), t)


class PlainStack(nn.Module):
    """Decoder layers under the name that checkpoints give them."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.stack = nn.ModuleList(layers)


class PlainNetwork(nn.Module):
    """Spec 8, with the tensor names of the checkpoints."""

    def __init__(self, sizes: LmdmSizes, dropout: float):
        super().__init__()
        width = sizes.width
        self.null_cond_embed = nn.Parameter(torch.randn(1, sizes.frames, width))
        self.null_cond_hidden = nn.Parameter(torch.randn(1, width))
        self.rotary = PlainRotary(width)
        block = (width, sizes.heads, sizes.feedforward, self.rotary, dropout)
        self.time_mlp = nn.Sequential(SinusoidalTime(width), nn.Linear(width, 4 * width), nn.Mish())
        self.to_time_cond = nn.Sequential(nn.Linear(4 * width, width))
        self.to_time_tokens = nn.Sequential(nn.Linear(4 * width, 2 * width))
        self.norm_cond = nn.LayerNorm(width)
        self.input_projection = nn.Linear(2 * sizes.motion, width)
        self.cond_encoder = nn.Sequential(*(PlainEncoderLayer(*block) for _ in range(sizes.encoder_layers)))
        self.cond_projection = nn.Linear(sizes.cond, width)
        self.non_attn_cond_projection = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.seqTransDecoder = PlainStack([PlainDecoderLayer(*block) for _ in range(sizes.decoder_layers)])
        self.final_layer = nn.Linear(width, sizes.motion)

    def forward(self, x: Tensor, frame: Tensor, cond: Tensor, times: Tensor, keep: Tensor) -> Tensor:
        """As Lmdm.predict."""
        h = self.input_projection(torch.cat((x, frame[:, None].repeat(1, x.shape[1], 1)), dim=-1))
        tokens = self.cond_encoder(self.cond_projection(cond))
        tokens = torch.where(keep[:, None, None], tokens, self.null_cond_embed)
        hidden = self.non_attn_cond_projection(tokens.mean(dim=1))
        hidden = torch.where(keep[:, None], hidden, self.null_cond_hidden)
        mixed = self.time_mlp(times)
        t = self.to_time_cond(mixed) + hidden
        time_tokens = self.to_time_tokens(mixed).reshape(len(x), 2, -1)
        memory = self.norm_cond(torch.cat((tokens, time_tokens), dim=1))
        for layer in self.seqTransDecoder.stack:
            h = layer(h, memory, t)
        return self.final_layer(h)


def plain_losses(found: Tensor, wanted: Tensor, frame: Tensor) -> dict[str, Tensor]:
    """Spec 9.3 with L terms, part by part."""
    terms = {}
    for name, where in SLICES.items():
        a, b = found[..., where], wanted[..., where]
        va, vb = a[:, 1:] - a[:, :-1], b[:, 1:] - b[:, :-1]
        terms[f"{name}_P"] = F.mse_loss(a, b, reduction="none").mean()
        terms[f"{name}_V"] = F.mse_loss(va, vb, reduction="none").mean()
        terms[f"{name}_A"] = F.mse_loss(va[:, 1:] - va[:, :-1], vb[:, 1:] - vb[:, :-1], reduction="none").mean()
        terms[f"{name}_L"] = F.mse_loss(a[:, 0], frame[:, where], reduction="none").mean()
    return terms


class PlainAdan(torch.optim.Optimizer):
    """Spec 10.1, one parameter after the other."""

    def __init__(self, params, lr: float, decay: float = 0.02):
        super().__init__(params, {"lr": lr, "decay": decay})

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter with a gradient."""
        b1, b2, b3 = 0.02, 0.08, 0.01
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g, state = p.grad, self.state[p]
                if not state:
                    state.update(step=0, prev=torch.zeros_like(g))
                    state.update({name: torch.zeros_like(g) for name in "mvn"})
                m, v, n = state["m"], state["v"], state["n"]
                if state["step"]:
                    change = g - state["prev"]
                    m.mul_(1 - b1).add_(g, alpha=b1)
                    v.mul_(1 - b2).add_(change, alpha=b2)
                    n.mul_(1 - b3).add_((g + (1 - b2) * change) ** 2, alpha=b3)
                state["step"] += 1
                c1, c2, c3 = (1 / (1 - (1 - beta) ** state["step"]) for beta in (b1, b2, b3))
                rate = group["lr"] / (torch.sqrt(n * c3) + 1e-8)
                p.copy_((p - rate * (m * c1 + (1 - b2) * v * c2)) / (1 + group["decay"] * group["lr"]))
                state["prev"] = g.clone()
