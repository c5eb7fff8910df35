"""SPADE decoder: paints the face picture from warped features (spec models.md 7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.modules.spade import SLOPE, SpadeBlock
from core.models.modules.upsample import double

MIDDLE_BLOCKS = 6


@dataclass(frozen=True)
class DecoderSizes:
    """Channels of the decoder; the defaults are those of the published weights."""

    feature: int = 256  # of the input, which also modulates every block
    middle: int = 512
    up: tuple[int, int] = (256, 64)  # after the first and the second doubling of the picture's size


class Decoder(nn.Module):
    """`feature` (B, 256, h, w) -> picture (B, 3, 8h, 8w), RGB in 0..1; h = w = 64 in production."""

    def __init__(self, sizes: DecoderSizes = DecoderSizes()) -> None:
        super().__init__()
        self.sizes = sizes
        self.fc = nn.Conv2d(sizes.feature, sizes.middle, 3, padding=1)
        for i in range(MIDDLE_BLOCKS):
            self.add_module(f"G_middle_{i}", SpadeBlock(sizes.middle, sizes.middle, sizes.feature))
        self.up_0 = SpadeBlock(sizes.middle, sizes.up[0], sizes.feature, doubled=True)
        self.up_1 = SpadeBlock(sizes.up[0], sizes.up[1], sizes.feature, doubled=True)
        self.conv_img = nn.Sequential(nn.Conv2d(sizes.up[1], 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, feature: Tensor) -> Tensor:
        """feature (B, 256, h, w) -> `output` (B, 3, 8h, 8w)."""
        if feature.dim() != 4 or feature.shape[1] != self.sizes.feature:
            raise ValueError(f"feature must be (B, {self.sizes.feature}, h, w), got {tuple(feature.shape)}")
        x = self.fc(feature)
        for i in range(MIDDLE_BLOCKS):
            x = self.get_submodule(f"G_middle_{i}")(x, feature)
        x = self.up_1(self.up_0(x, feature), double(feature))
        return torch.sigmoid(self.conv_img(F.leaky_relu_(x, SLOPE)).float())
