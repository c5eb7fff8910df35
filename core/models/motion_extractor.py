"""Motion extractor: a portrait -> head pose, expression, canonical key points. ConvNeXt V2 "tiny" with seven heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.models.modules.convnext import EPS, ChannelNorm, ConvNextBlock


@dataclass(frozen=True)
class MotionSizes:
    """Sizes of the network."""

    depths: tuple[int, ...] = (3, 3, 9, 3)  # blocks in each stage
    widths: tuple[int, ...] = (96, 192, 384, 768)  # channels in each stage
    bins: int = 66  # of each head angle, 3 degrees apart
    points: int = 21

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"as many depths as widths are needed, found {self.depths} and {self.widths}")


class MotionPrediction(NamedTuple):
    """What the network says of a batch of B pictures, in the order of the published models."""

    pitch: Tensor  # (B, 66) logits of the bins
    yaw: Tensor  # (B, 66)
    roll: Tensor  # (B, 66)
    t: Tensor  # (B, 3) translation
    exp: Tensor  # (B, 63) expression, 21 x 3
    scale: Tensor  # (B, 1)
    kp: Tensor  # (B, 63) canonical key points, 21 x 3


class ConvNextHeads(nn.Module):
    """The backbone and the heads; the published names have it as `detector`."""

    def __init__(self, sizes: MotionSizes):
        super().__init__()
        widths = sizes.widths
        steps = [nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0]))]
        for a, b in zip(widths, widths[1:], strict=False):
            steps.append(nn.Sequential(ChannelNorm(a), nn.Conv2d(a, b, 2, stride=2)))
        self.downsample_layers = nn.ModuleList(steps)
        stages = zip(sizes.depths, widths, strict=True)
        self.stages = nn.ModuleList(nn.Sequential(*(ConvNextBlock(c) for _ in range(n))) for n, c in stages)
        self.norm = nn.LayerNorm(widths[-1], eps=EPS)
        points, bins = 3 * sizes.points, sizes.bins
        heads = {"kp": points, "scale": 1, "pitch": bins, "yaw": bins, "roll": bins, "t": 3, "exp": points}
        for name, outputs in heads.items():
            self.add_module(f"fc_{name}", nn.Linear(widths[-1], outputs))

    def forward(self, image: Tensor) -> MotionPrediction:
        """image (B, 3, H, W) -> predictions."""
        x = image
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))  # (B, 96, H/4, W/4), (B, 192, H/8, W/8), (B, 384, H/16, W/16), (B, 768, H/32, W/32)
        pooled = self.norm(x.mean((2, 3)))  # (B, 768)
        return MotionPrediction(*(getattr(self, f"fc_{name}")(pooled) for name in MotionPrediction._fields))


class MotionExtractor(nn.Module):
    """The published network."""

    INPUTS = ("image",)
    OUTPUTS = MotionPrediction._fields

    def __init__(self, sizes: MotionSizes = MotionSizes()):
        super().__init__()
        self.sizes = sizes
        self.detector = ConvNextHeads(sizes)

    def forward(self, image: Tensor) -> MotionPrediction:
        """image (B, 3, H, W), RGB in 0..1 -> predictions. H and W divisible by 32, 256 in production."""
        step = 2 * 2 ** len(self.sizes.widths)
        if image.dim() != 4 or image.shape[1] != 3 or image.shape[2] % step or image.shape[3] % step:
            raise ValueError(f"image must be (B, 3, H, W) with H and W divisible by {step}, got {tuple(image.shape)}")
        return self.detector(image.contiguous(memory_format=torch.channels_last))
