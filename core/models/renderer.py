"""Warping and decoding with tensors that stay on their device, and what a source needs computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.backends.pytorch import TorchSession
from core.models.warp_network import PreparedSource


@dataclass(frozen=True)
class _Kept:
    """The source that was warped last."""

    feature: Tensor
    x_s: np.ndarray
    prepared: PreparedSource


class TorchRenderer:
    """Appearance, warp and decode of a PyTorch pack. Calls may come from several threads."""

    def __init__(self, appearance: TorchSession, warp: TorchSession, decoder: TorchSession):
        self._appearance, self._warp, self._decoder = appearance, warp, decoder
        self._kept: _Kept | None = None  # replaced as a whole, so that threads see one source or the other

    def appearance(self, image: np.ndarray) -> Tensor:
        """(1, 3, 256, 256) float32 RGB in 0..1 -> feature volume (1, 32, 16, 64, 64) on the device."""
        self._appearance.check({"image": image})
        with self._appearance.ready():
            return self._appearance.network(self._appearance.tensor(image)).float()

    def warp(self, feature: Tensor, x_s: np.ndarray, x_d: np.ndarray) -> Tensor:
        """Feature volume and keypoints (1, 21, 3) -> warped features (1, 256, 64, 64) on the device."""
        with self._warp.ready():
            return self._warp.network.warp(self._prepared(feature, x_s), self._warp.tensor(x_d))

    def decode(self, volume: Tensor) -> np.ndarray:
        """Warped features -> (512, 512, 3) float32 RGB in 0..255."""
        with self._decoder.ready():
            picture = self._decoder.network(volume.to(self._decoder.device, torch.float32))[0].float()
            return picture.permute(1, 2, 0).clamp(0, 1).mul(255).contiguous().cpu().numpy()

    def _prepared(self, feature: Tensor, x_s: np.ndarray) -> PreparedSource:
        kept = self._kept
        if kept is None or kept.feature is not feature or not np.array_equal(kept.x_s, x_s):
            moved = feature.to(self._warp.device)
            kept = _Kept(feature, x_s.copy(), self._warp.network.prepare(moved, self._warp.tensor(x_s)))
            self._kept = kept
        return kept.prepared
