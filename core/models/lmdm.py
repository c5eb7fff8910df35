"""LMDM, the motion denoiser: a noisy motion clip and its conditions -> the clean clip (spec models.md 9).

B is the number of clips, G the number of decoder passes on them: 2 B under guidance (B without the condition, then
B with it, in one batch), F = 80 frames, M = 265 motion values, C = 1103 condition values, W = 512.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.condition_encoder import ConditionEncoderLayer
from core.models.modules.film_decoder import FilmDecoder, Memory
from core.models.modules.rotary import Rotary, Table
from core.models.modules.time_embedding import SinusoidalTime
from core.models.sampler import cosine_schedule

GUIDANCE = 2.0  # x0 = unconditioned + GUIDANCE * (conditioned - unconditioned)
TIME_TOKENS = 2


@dataclass(frozen=True)
class LmdmSizes:
    """Sizes of the network; the defaults are those of the published checkpoint."""

    frames: int = 80
    motion: int = 265
    cond: int = 1103  # 1024 audio + 8 emotion + 2 eye opening + 6 eye ball + 63 canonical key points
    width: int = 512
    heads: int = 8
    feedforward: int = 1024
    encoder_layers: int = 2
    decoder_layers: int = 8
    multi_cond_frame: bool = False  # cond_frame is (B, F, M + 1): a frame and a mask for every frame

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"LMDM width {self.width} must be a multiple of 4 and of its {self.heads} heads")


@dataclass(frozen=True)
class LmdmContext:
    """What the steps of a clip share.

    Attributes:
        frame: (B, 1 or F, W) share of `cond_frame` in the input projection, bias included.
        hidden: (G, W) summary of the condition, to be added to the time vector.
        memory: keys and values of the F condition tokens per decoder layer, each (G, H, F, W / H).
        table: rotary angles of F + 2 positions.
    """

    frame: Tensor
    hidden: Tensor
    memory: tuple[Memory, ...]
    table: Table


@dataclass(frozen=True)
class LmdmSteps:
    """What depends on the time of a step but not on the clip's noise, for N steps.

    Attributes:
        films: (N, layers, 3, G, 2 W) scales and shifts.
        memory: keys and values of the time tokens per layer, each (N, G, H, 2, W / H).
    """

    films: Tensor
    memory: tuple[Memory, ...]

    def at(self, i: int) -> LmdmStep:
        """Step i alone."""
        return LmdmStep(self.films[i], tuple((keys[i], values[i]) for keys, values in self.memory))


@dataclass(frozen=True)
class LmdmStep:
    """One row of LmdmSteps: films (layers, 3, G, 2 W); memory per layer, each (G, H, 2, W / H)."""

    films: Tensor
    memory: tuple[Memory, ...]


class Lmdm(nn.Module):
    """The network: `prepare` once per clip, `steps` once per clip, `denoise` once per step; `forward` is all three.

    `predict` is for training, the only time when `dropout` acts.
    """

    def __init__(self, sizes: LmdmSizes = LmdmSizes(), dropout: float = 0.0):
        super().__init__()
        self.sizes = sizes
        width, hidden = sizes.width, 4 * sizes.width
        frame_width = sizes.motion + 1 if sizes.multi_cond_frame else sizes.motion
        self.null_cond_embed = nn.Parameter(torch.randn(1, sizes.frames, width))
        self.null_cond_hidden = nn.Parameter(torch.randn(1, width))
        self.rotary = Rotary(width)
        block = (width, sizes.heads, sizes.feedforward, self.rotary, dropout)
        self.time_mlp = nn.Sequential(SinusoidalTime(width), nn.Linear(width, hidden), nn.Mish())
        self.to_time_cond = nn.Sequential(nn.Linear(hidden, width))
        self.to_time_tokens = nn.Sequential(nn.Linear(hidden, TIME_TOKENS * width))
        self.norm_cond = nn.LayerNorm(width)
        self.input_projection = nn.Linear(sizes.motion + frame_width, width)
        self.cond_encoder = nn.ModuleList(ConditionEncoderLayer(*block) for _ in range(sizes.encoder_layers))
        self.cond_projection = nn.Linear(sizes.cond, width)
        self.non_attn_cond_projection = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.seqTransDecoder = FilmDecoder(sizes.decoder_layers, *block)
        self.final_layer = nn.Linear(width, sizes.motion)

    def encode(self, cond: Tensor, table: Table) -> tuple[Tensor, Tensor]:
        """Condition (B, F, C) -> its tokens (B, F, W) and their summary (B, W)."""
        tokens = self.cond_projection(cond)
        for layer in self.cond_encoder:
            tokens = layer(tokens, table)
        return tokens, self.non_attn_cond_projection(tokens.mean(dim=1))

    def context(self, cond_frame: Tensor, tokens: Tensor, hidden: Tensor) -> LmdmContext:
        """Context of the decoder passes on given tokens.

        Args:
            cond_frame: (B, M) motion to continue, or (B, F, M + 1) with `multi_cond_frame`.
            tokens, hidden: (G, F, W) and (G, W), G a multiple of B.
        """
        frame = self._project_frame(cond_frame)
        table = self.rotary.table(self.sizes.frames + TIME_TOKENS)
        memory = self.seqTransDecoder.memory(self.norm_cond(tokens), _positions(table, 0, self.sizes.frames))
        return LmdmContext(frame, hidden, memory, table)

    def prepare(self, cond_frame: Tensor, cond: Tensor) -> LmdmContext:
        """cond_frame as in `context`, cond (B, F, C) -> context of the two guidance passes."""
        self._check(cond)
        tokens, hidden = self.encode(cond, self.rotary.table(self.sizes.frames))
        tokens = torch.cat((self.null_cond_embed.expand_as(tokens), tokens))
        return self.context(cond_frame, tokens, torch.cat((self.null_cond_hidden.expand_as(hidden), hidden)))

    def steps(self, context: LmdmContext, times: Tensor) -> LmdmSteps:
        """Everything about N times, for all of them at once.

        Args:
            times: (N,) int64 for steps that all clips take at the same time, or (N, B).
        """
        per_clip = times if times.dim() == 2 else times[:, None]
        passes = context.hidden.shape[0]
        mixed = self.time_mlp(per_clip.reshape(-1))
        time = self.to_time_cond(mixed).unflatten(0, per_clip.shape)
        tokens = self.norm_cond(self.to_time_tokens(mixed).unflatten(-1, (TIME_TOKENS, -1)))
        memory = self.seqTransDecoder.memory(tokens, _positions(context.table, self.sizes.frames, None))
        films = self.seqTransDecoder.films(_spread(time, passes) + context.hidden)
        return LmdmSteps(
            films, tuple(tuple(_spread(a.unflatten(0, per_clip.shape), passes) for a in pair) for pair in memory)
        )

    def passes(self, x: Tensor, context: LmdmContext, step: LmdmStep) -> Tensor:
        """Noisy motion (B, F, M) -> clean motion of every pass (G, F, M)."""
        h = self._project(x, context.frame)
        memory = tuple(
            (torch.cat((keys, time_keys), dim=2), torch.cat((values, time_values), dim=2))
            for (keys, values), (time_keys, time_values) in zip(context.memory, step.memory, strict=True)
        )
        h = self.seqTransDecoder(h, memory, step.films, _positions(context.table, 0, self.sizes.frames))
        return self.final_layer(h)

    def denoise(self, x: Tensor, context: LmdmContext, step: LmdmStep) -> Tensor:
        """Noisy motion (B, F, M) and a context of `prepare` -> guided clean motion (B, F, M)."""
        without, with_condition = self.passes(x, context, step).chunk(2)
        return without + GUIDANCE * (with_condition - without)

    def forward(self, x: Tensor, cond_frame: Tensor, cond: Tensor, time_cond: Tensor) -> tuple[Tensor, Tensor]:
        """One guided step as the published ONNX file computes it.

        Args:
            x: (B, F, M) noisy motion. cond_frame: (B, M). cond: (B, F, C). time_cond: (B,) int64.

        Returns:
            predicted noise and clean motion, each (B, F, M).
        """
        context = self.prepare(cond_frame, cond)
        start = self.denoise(x, context, self.steps(context, time_cond[None]).at(0))
        schedule = cosine_schedule()
        factor = torch.from_numpy(schedule.noise_factor).to(x.device)[time_cond][:, None, None]
        divisor = torch.from_numpy(schedule.start_divisor).to(x.device)[time_cond][:, None, None]
        return factor * x - start / divisor, start

    def predict(self, x: Tensor, cond_frame: Tensor, cond: Tensor, times: Tensor, keep: Tensor) -> Tensor:
        """Clean motion in one pass without guidance, as in training (spec training.md 8).

        Args:
            x: (B, F, M) noisy motion. cond_frame: (B, M). cond: (B, F, C). times: (B,) int64.
            keep: (B,) bool; the others see the learned empty condition.

        Returns:
            (B, F, M).
        """
        self._check(cond)
        tokens, hidden = self._encode_kept(cond, keep)
        mixed = self.time_mlp(times)
        time_tokens = self.to_time_tokens(mixed).unflatten(-1, (TIME_TOKENS, -1))
        tokens = self.norm_cond(torch.cat((tokens, time_tokens), dim=1))
        table = self.rotary.table(tokens.shape[1])
        memory = self.seqTransDecoder.memory(tokens, table)
        films = self.seqTransDecoder.films((self.to_time_cond(mixed) + hidden)[None])[0]
        h = self._project(x, self._project_frame(cond_frame))
        h = self.seqTransDecoder(h, memory, films, _positions(table, 0, self.sizes.frames))
        return self.final_layer(h)

    def _encode_kept(self, cond: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, with the learned empty condition where `keep` is False."""
        table = self.rotary.table(self.sizes.frames)
        if keep.device.type != "cpu" or torch.compiler.is_compiling():  # counting the kept ones would wait for a GPU
            tokens, hidden = self.encode(cond, table)
            tokens = torch.where(keep[:, None, None], tokens, self.null_cond_embed)
            return tokens, torch.where(keep[:, None], hidden, self.null_cond_hidden)
        rows = keep.nonzero()[:, 0]
        tokens, hidden = self.encode(cond[rows], table)
        empty, bare = self.null_cond_embed, self.null_cond_hidden
        tokens = empty.repeat(len(cond), 1, 1).index_copy(0, rows, tokens.to(empty.dtype))
        return tokens, bare.repeat(len(cond), 1).index_copy(0, rows, hidden.to(bare.dtype))

    def _project_frame(self, cond_frame: Tensor) -> Tensor:
        """`cond_frame` as in `context` -> its share (B, 1 or F, W) of the input projection, bias included."""
        weight = self.input_projection.weight[:, self.sizes.motion :]
        frame = F.linear(cond_frame, weight, self.input_projection.bias)
        return frame if frame.dim() == 3 else frame[:, None]

    def _project(self, x: Tensor, frame: Tensor) -> Tensor:
        """Noisy motion (B, F, M) and the share of the condition frame -> (B, F, W)."""
        return F.linear(x, self.input_projection.weight[:, : self.sizes.motion]) + frame

    def _check(self, cond: Tensor) -> None:
        wanted = (self.sizes.frames, self.sizes.cond)
        if cond.dim() != 3 or tuple(cond.shape[1:]) != wanted:
            raise ValueError(f"LMDM condition must be (B, {wanted[0]}, {wanted[1]}), got {tuple(cond.shape)}")


def _positions(table: Table, first: int, end: int | None) -> Table:
    """Rows first .. end - 1 of a rotary table."""
    return table[0][first:end], table[1][first:end]


def _spread(x: Tensor, passes: int) -> Tensor:
    """(N, 1 or B, ...) -> (N, G, ...): one row is shared by all passes, B rows are repeated in order."""
    return x.repeat(1, passes // x.shape[1], *[1] * (x.dim() - 2))
