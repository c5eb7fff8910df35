"""Stitching network: a small correction of the driving key points that keeps neck and shoulders in place."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StitchSizes:
    """Sizes of the network."""

    points: int = 21  # key points, three coordinates each
    hidden: tuple[int, ...] = (128, 128, 64)  # widths between the linear layers


class StitchNetwork(nn.Module):
    """Linear layers with ReLU between them over both sets of points: 126 -> 128 -> 128 -> 64 -> 65."""

    INPUTS = ("kp_source", "kp_driving")
    OUTPUTS = ("out",)

    def __init__(self, sizes: StitchSizes = StitchSizes()):
        super().__init__()
        self.sizes = sizes
        values = 3 * sizes.points
        widths = (2 * values, *sizes.hidden, values + 2)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """kp_source (B, 21, 3), kp_driving (B, 21, 3) -> corrected driving points (B, 21, 3)."""
        if kp_source.shape != kp_driving.shape or kp_driving.shape[1:] != (self.sizes.points, 3):
            found = f"{tuple(kp_source.shape)} and {tuple(kp_driving.shape)}"
            raise ValueError(f"kp_source and kp_driving must be (B, {self.sizes.points}, 3), got {found}")
        both = torch.cat((kp_source.flatten(1), kp_driving.flatten(1)), 1)  # (B, 126)
        delta = self.mlp(both)  # (B, 65): 63 offsets, then one shift in x and y for all points
        offsets = delta[:, :-2].reshape(kp_driving.shape)
        shift = nn.functional.pad(delta[:, -2:], (0, 1)).unsqueeze(1)  # (B, 1, 3), nothing in z
        return kp_driving + offsets + shift
