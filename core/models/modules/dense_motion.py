"""Dense motion: from 21 keypoint displacements to a displacement of every voxel (spec models.md 6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.models.modules.blocks import DownBlock3d
from core.models.modules.fold import fold_norm
from core.models.modules.upsample import UpBlock3d
from core.models.modules.volume import coordinate_grid, gaussians, sample_shifted

VARIANCE = 0.01  # of the Gaussians around keypoints


@dataclass(frozen=True)
class DenseMotionSizes:
    """Sizes of the dense-motion network; the defaults are those of the published weights."""

    keypoints: int = 21
    channels: int = 32  # of the feature volume
    depth: int = 16  # slices of the feature volume
    compressed: int = 4  # channels that are moved with each keypoint
    width: int = 32  # channels of the hourglass at full size; doubled at each of its levels ...
    max_width: int = 1024  # ... up to this
    levels: int = 5

    @property
    def motions(self) -> int:
        """Candidate motions: one per keypoint and the one of the background, which rests."""
        return self.keypoints + 1

    @property
    def hourglass_inputs(self) -> int:
        """Channels that enter the hourglass: a heat map and moved features per motion."""
        return self.motions * (1 + self.compressed)


@dataclass(frozen=True)
class Source:
    """What the dense motion needs of one source frame, for any number of driven frames. B may be 1 for all of them.

    Attributes:
        keypoints: (B, 21, 3).
        grid: (16, H, W, 3) coordinates of the voxels.
        compressed: (B, 4, 16, H, W) features to move.
        resting: (B, 1, 5, 16, H, W) heat map and features of the background motion.
        heat: (B, 21, 16, H, W) Gaussians around the keypoints.
    """

    keypoints: Tensor
    grid: Tensor
    compressed: Tensor
    resting: Tensor
    heat: Tensor


class Encoder(nn.Module):
    """(B, a, D, H, W) -> the input and the output of each level, the last (B, b, D, H/32, W/32)."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.down_blocks = nn.ModuleList(DownBlock3d(a, b) for a, b in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [x]
        for block in self.down_blocks:
            outputs.append(block(outputs[-1]))
        return outputs


class Decoder(nn.Module):
    """The encoder's outputs -> (B, width + inputs, D, H, W)."""

    def __init__(self, inputs: int, widths: list[int]) -> None:
        super().__init__()
        skips = [0, *widths[-2::-1]]
        outputs = [*widths[-2::-1], widths[0] // 2]
        above = [widths[-1], *outputs[:-1]]
        self.up_blocks = nn.ModuleList(UpBlock3d(a + skip, b) for a, skip, b in zip(above, skips, outputs, strict=True))
        self.conv = nn.Conv3d(outputs[-1] + inputs, outputs[-1] + inputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs[-1] + inputs)

    def fold(self) -> None:
        """Put the batch norm into the convolution before it."""
        self.norm = fold_norm(self.conv, self.norm)

    def forward(self, skips: list[Tensor]) -> Tensor:
        x = skips[-1]
        for block, skip in zip(self.up_blocks, skips[-2::-1], strict=True):
            x = torch.cat((block(x), skip), 1)
        return torch.relu_(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    """U-shaped over H and W, which must be multiples of 2^levels: (B, a, D, H, W) -> (B, a + width, D, H, W)."""

    def __init__(self, inputs: int, sizes: DenseMotionSizes) -> None:
        super().__init__()
        widths = [min(sizes.max_width, sizes.width * 2 ** (i + 1)) for i in range(sizes.levels)]
        self.encoder = Encoder([inputs, *widths])
        self.decoder = Decoder(inputs, widths)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class DenseMotionNetwork(nn.Module):
    """Feature volume and keypoints -> where each voxel comes from, and how visible it is."""

    def __init__(self, sizes: DenseMotionSizes = DenseMotionSizes()) -> None:
        super().__init__()
        self.sizes = sizes
        self.hourglass = Hourglass(sizes.hourglass_inputs, sizes)
        features = sizes.hourglass_inputs + sizes.width
        self.mask = nn.Conv3d(features, sizes.motions, 7, padding=3)
        self.compress = nn.Conv3d(sizes.channels, sizes.compressed, 1)
        self.norm = nn.BatchNorm3d(sizes.compressed)
        self.occlusion = nn.Conv2d(features * sizes.depth, 1, 7, padding=3)

    def fold(self) -> None:
        """Put the batch norm into the convolution before it."""
        self.norm = fold_norm(self.compress, self.norm)

    def prepare(self, feature_3d: Tensor, kp_source: Tensor) -> Source:
        """What depends on the source only. feature_3d (B, 32, 16, H, W), kp_source (B, 21, 3)."""
        size = (feature_3d.shape[2], feature_3d.shape[3], feature_3d.shape[4])
        compressed = torch.relu(self.norm(self.compress(feature_3d))).float()
        resting = sample_shifted(compressed, kp_source.new_zeros(compressed.shape[0], 1, 3))
        resting = torch.cat((torch.zeros_like(resting[:, :, :1]), resting), 2)
        heat = gaussians(kp_source, size, VARIANCE)
        return Source(kp_source, coordinate_grid(size, kp_source), compressed, resting, heat)

    def forward(self, source: Source, kp_driving: Tensor) -> tuple[Tensor, Tensor]:
        """Deformation (B, 16, H, W, 3), the place to sample each voxel from, and visibility (B, 1, H, W) in 0..1."""
        shift = source.keypoints - kp_driving
        inputs = self.candidates(source, kp_driving, shift)
        features = self.hourglass(inputs)
        weights = torch.softmax(self.mask(features).float(), 1)[:, 1:]
        deformation = source.grid + torch.einsum("bkdhw,bkc->bdhwc", weights, shift)  # resting voxels: shift 0
        occlusion = torch.sigmoid(self.occlusion(features.flatten(1, 2)))
        return deformation, occlusion

    def candidates(self, source: Source, kp_driving: Tensor, shift: Tensor) -> Tensor:
        """Input of the hourglass (B, 110, 16, H, W): for each motion its heat map, then the features it moves here."""
        batch, size = kp_driving.shape[0], source.heat.shape[2:]
        heat = gaussians(kp_driving, tuple(size), VARIANCE) - source.heat
        moved = sample_shifted(source.compressed.expand(batch, -1, -1, -1, -1), shift)
        resting = source.resting.expand(batch, -1, -1, -1, -1, -1)
        moving = torch.cat((heat[:, :, None], moved), 2)
        return torch.cat((resting, moving), 1).flatten(1, 2)
