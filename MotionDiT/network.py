"""The network in training: the module that is prepared for several processes, its averaged copy, its description."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import InputError
from core.models.lmdm import Lmdm, LmdmSizes

EMA_RAMP = 10  # the average of the first steps follows faster: decay (1 + k) / (EMA_RAMP + k)


class Denoiser(nn.Module):
    """Lmdm with `predict` as its forward, so that whatever wraps the module shares gradients (spec 14, D-02)."""

    def __init__(self, network: Lmdm):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, cond_frame: Tensor, cond: Tensor, times: Tensor, keep: Tensor) -> Tensor:
        """See Lmdm.predict."""
        return self.network.predict(x, cond_frame, cond, times, keep)


class Average:
    """Exponential moving average of a network's weights. `network` is the averaged copy, ready for inference."""

    def __init__(self, network: Lmdm, decay: float):
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.count = decay, 0

    @torch.no_grad()
    def update(self, parameters: Iterable[Tensor]) -> None:
        """Take in the weights after a step."""
        decay = min(self.decay, (1 + self.count) / (EMA_RAMP + self.count))
        torch._foreach_lerp_(list(self.network.parameters()), [p.detach() for p in parameters], 1 - decay)
        self.count += 1


def describe(sizes: LmdmSizes) -> dict[str, Any]:
    """Sizes as plain values for a checkpoint."""
    return asdict(sizes)


def build(sizes: LmdmSizes, dropout: float, seed: int, checkpoint: str = "") -> Lmdm:
    """A network with random weights of `seed`, or those of a checkpoint of the same sizes. Raises PackError."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Lmdm(sizes, dropout)
    if checkpoint:
        from core.backends.checkpoint import load_network

        network = load_network(checkpoint, network, "lmdm", fold=False)
    return network.requires_grad_(True).train()


def check_condition(given: int, widths: dict[str, int]) -> int:
    """The width of the condition: the sum of the columns that data and flags give. Raises InputError on another."""
    total = sum(widths.values())
    if given and given != total:
        parts = " + ".join(f"{width} ({name})" for name, width in widths.items())
        raise InputError(
            f"--audio_feat_dim is {given}, but data and flags give {parts} = {total} columns; "
            f"pass --audio_feat_dim {total}, or other --use_... flags"
        )
    return total
