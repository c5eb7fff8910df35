"""Geometry on feature volumes: coordinates, Gaussians around keypoints, sampling (spec models.md 6.1 and 6.2).

Coordinates are (x, y, z) = (column, row, slice). The grid puts -1 and 1 on the centres of the border voxels, sampling
reads them as the outer edges. The two do not match, so sampling at the plain grid changes the volume a little; the
published weights were trained that way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def axis(size: int, like: Tensor) -> Tensor:
    """Coordinates (size,) of the voxel centres along one axis, from -1 to 1, on the device of `like`."""
    if size < 2:
        raise ValueError(f"a volume needs at least 2 voxels along each axis, got {size}")
    return torch.arange(size, device=like.device, dtype=torch.float32) * (2 / (size - 1)) - 1


def coordinate_grid(size: tuple[int, int, int], like: Tensor) -> Tensor:
    """Coordinates (D, H, W, 3) of all voxel centres of a volume of `size` (D, H, W)."""
    z, y, x = torch.meshgrid(*(axis(n, like) for n in size), indexing="ij")
    return torch.stack((x, y, z), -1)


def gaussians(points: Tensor, size: tuple[int, int, int], variance: float) -> Tensor:
    """exp(-|voxel - point|^2 / (2 variance)) for points (B, K, 3): (B, K, D, H, W).

    A Gaussian is the product of one along each axis, so D + H + W exponentials do for D * H * W.
    """
    z, y, x = (
        torch.exp((axis(n, points) - points[..., i : i + 1]).square() * (-0.5 / variance))
        for n, i in zip(size, (2, 1, 0), strict=True)
    )
    return z[..., :, None, None] * (y[..., :, None] * x[..., None, :])[:, :, None]


def sample(volume: Tensor, points: Tensor) -> Tensor:
    """Trilinear values of volume (B, C, D, H, W) at points (B, D', H', W', 3): (B, C, D', H', W'); zero outside."""
    return F.grid_sample(volume, points.to(volume.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


def sample_shifted(volume: Tensor, shift: Tensor) -> Tensor:
    """`sample` at the volume's own grid moved by each of K shifts.

    The same shift for all voxels makes the interpolation separable: one matrix with two entries per row for each axis.

    Args:
        volume: (B, C, D, H, W).
        shift: (B, K, 3), (x, y, z).

    Returns:
        (B, K, C, D, H, W).
    """
    batch, channels, depth, height, width = volume.shape
    count = shift.shape[1]
    z, y, x = (_taps(n, shift[..., i]) for n, i in ((depth, 2), (height, 1), (width, 0)))
    out = volume.reshape(batch, 1, -1, width) @ x.transpose(-1, -2)
    out = y[:, :, None] @ out.view(batch, count, channels * depth, height, width)
    out = z[:, :, None] @ out.view(batch, count, channels, depth, height * width)
    return out.view(batch, count, channels, depth, height, width)


def _taps(size: int, shift: Tensor) -> Tensor:
    """Weights (..., size, size) of the source voxels (last axis) for each voxel moved by shift (...)."""
    address = ((axis(size, shift) + shift[..., None] + 1) * size - 1) / 2
    voxels = torch.arange(size, device=shift.device, dtype=address.dtype)
    return (1 - (address[..., None] - voxels).abs()).clamp(min=0)
