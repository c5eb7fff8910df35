"""Warping network: moves the source's feature volume to the driven keypoints (spec models.md 6)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from core.models.modules.blocks import SameBlock2d
from core.models.modules.dense_motion import DenseMotionNetwork, DenseMotionSizes, Source
from core.models.modules.volume import sample

LEAKY_SLOPE = 0.01
OUT_CHANNELS = 256


@dataclass(frozen=True)
class PreparedSource:
    """One source frame (or one per driven frame), ready to be warped any number of times.

    Attributes:
        feature_3d: (B, 32, 16, H, W) float32.
        motion: what the dense-motion network keeps of it.
    """

    feature_3d: Tensor
    motion: Source


class WarpingNetwork(nn.Module):
    """`prepare` a source once, then `warp` it to each driven frame; `forward` does both.

    Output (B, 256, H, W) with H = W = 64 in production; H and W must be multiples of 32. The sizes are those of
    `DenseMotionSizes`.
    """

    def __init__(self, sizes: DenseMotionSizes = DenseMotionSizes(), out_channels: int = OUT_CHANNELS) -> None:
        super().__init__()
        self.sizes = sizes
        self.dense_motion_network = DenseMotionNetwork(sizes)
        self.third = SameBlock2d(sizes.channels * sizes.depth, out_channels, LEAKY_SLOPE)
        self.fourth = nn.Conv2d(out_channels, out_channels, 1)

    def prepare(self, feature_3d: Tensor, kp_source: Tensor) -> PreparedSource:
        """Compute what depends on the source only. feature_3d (B, 32, 16, H, W), kp_source (B, 21, 3)."""
        self._check(feature_3d, kp_source)
        feature_3d, kp_source = feature_3d.float(), kp_source.float()
        return PreparedSource(feature_3d, self.dense_motion_network.prepare(feature_3d, kp_source))

    def warp(self, source: PreparedSource, kp_driving: Tensor) -> Tensor:
        """Features (B, 256, H, W) at kp_driving (B, 21, 3). A source of batch 1 serves any number of driven frames."""
        batch, sources = kp_driving.shape[0], source.feature_3d.shape[0]
        self._check_points("kp_driving", kp_driving, "B")
        if sources not in (1, batch):
            raise ValueError(f"{sources} sources do not go with {batch} driven frames; give 1 or {batch}")
        deformation, occlusion = self.dense_motion_network(source.motion, kp_driving.float())
        moved = sample(source.feature_3d.expand(batch, -1, -1, -1, -1), deformation)
        return self.fourth(self.third(moved.flatten(1, 2))) * occlusion

    def forward(self, feature_3d: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """feature_3d (B, 32, 16, H, W), kp_source and kp_driving (B, 21, 3) -> `out` (B, 256, H, W)."""
        return self.warp(self.prepare(feature_3d, kp_source), kp_driving)

    def _check(self, feature_3d: Tensor, kp_source: Tensor) -> None:
        step = 2**self.sizes.levels
        shape, wanted = tuple(feature_3d.shape), (self.sizes.channels, self.sizes.depth)
        if len(shape) != 5 or shape[1:3] != wanted or shape[3] % step or shape[4] % step:
            raise ValueError(
                f"feature_3d must be (B, {wanted[0]}, {wanted[1]}, H, W) with H and W multiples of {step}, got {shape}"
            )
        self._check_points("kp_source", kp_source, shape[0])

    def _check_points(self, name: str, points: Tensor, batch: int | str) -> None:
        shape, count = tuple(points.shape), self.sizes.keypoints
        if len(shape) != 3 or shape[1:] != (count, 3) or batch not in ("B", shape[0]):
            raise ValueError(f"{name} must be ({batch}, {count}, 3), got {shape}")
