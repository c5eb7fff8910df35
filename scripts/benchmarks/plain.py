"""The plain eager path to compare with: same files and weights, none of what makes the product fast.

Every frame goes through the whole warping network, source included; nothing is folded, so that spectral norms and batch
norms are computed in every call; one frame at a time; autocast with float32 weights on a GPU; float32 pictures that
PyTorch copies; motion with two passes after one another per step, conditions encoded in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.backends.checkpoint import load_network
from core.backends.pytorch import KINDS, choose_device, make_sizes
from core.errors import InputError
from core.models.sampler import make_solver
from core.motion import MOTION_DIM
from core.packs.pack import find_pack, open_pack
from core.settings.options import PackConfig
from scripts.benchmarks.lmdm import plain_clip


def load_plain(config: PackConfig, files: Mapping[str, Path], name: str, device: torch.device) -> nn.Module:
    """A network of a PyTorch pack as its file has it."""
    entry = config.audio2motion_cfg if name == "lmdm" else config.base_cfg[f"{name}_cfg"]
    path = files["audio2motion_cfg" if name == "lmdm" else f"{name}_cfg"]
    if path.suffix == ".onnx":
        raise InputError(f"{path}: only PyTorch packs have a plain path to compare with")
    with torch.device("meta"):
        network = KINDS[name].network(make_sizes(KINDS[name].sizes, entry.get("sizes") or {}))
    return load_network(path, network, name, device, fold=False)


class PlainRenderer:
    """Warp and decode, frame by frame."""

    def __init__(self, warp: nn.Module, decoder: nn.Module, device: torch.device):
        self._warp, self._decoder, self._device = warp, decoder, device

    def _context(self) -> Any:
        return torch.autocast(self._device.type, torch.float16, enabled=self._device.type == "cuda")

    @torch.inference_mode()
    def warp(self, feature: Any, x_s: np.ndarray, x_d: np.ndarray) -> torch.Tensor:
        """As the product's."""
        volume = torch.as_tensor(feature, device=self._device)
        with self._context():
            points = (torch.tensor(x, device=self._device) for x in (x_s, x_d))
            return self._warp(volume, *points).float()

    @torch.inference_mode()
    def decode(self, volume: torch.Tensor) -> np.ndarray:
        """As the product's."""
        with self._context():
            picture = self._decoder(volume).float()
        return (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).cpu().numpy().copy()


class PlainMotion:
    """The motion model with two passes per step."""

    def __init__(self, network: nn.Module, device: torch.device):
        self._network, self._device = network, device

    def sampler(self, seed: int, steps: int, method: str = "ddim") -> Any:
        """As the product's, DDIM only; the same noise for the same seed."""
        rng, solver = np.random.default_rng(seed), make_solver("ddim", steps)
        shape = (1, self._network.sizes.frames, MOTION_DIM)
        noise = self._tensor(rng.standard_normal((solver.noises, *shape), np.float32))

        @torch.inference_mode()
        def run(cond_frame: np.ndarray, cond: np.ndarray, start: int) -> np.ndarray:
            x = self._tensor(rng.standard_normal(shape, np.float32))
            frame, condition = self._tensor(cond_frame), self._tensor(cond)
            return plain_clip(self._network, solver, frame, condition, x, noise).cpu().numpy()

        return run

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.asarray(array, np.float32), device=self._device)


def make_plain(sdk: Any, pack: str, speed: Mapping[str, Any]) -> None:
    """Give a loaded StreamSDK the plain path. Raises InputError for packs that are not of PyTorch."""
    opened = open_pack(find_pack(pack), None, {})
    if opened.embedded:
        raise InputError("--compare needs a PyTorch pack of the official kind, such as --pack small or --pack random")
    device = choose_device(speed.get("device") or "auto")
    names = ("warp_network", "decoder", "lmdm")
    warp, decoder, lmdm = (load_plain(opened.config, opened.files, name, device) for name in names)
    renderer = PlainRenderer(warp, decoder, device)
    motion = PlainMotion(lmdm, device)
    sdk.models = replace(sdk.models, warp=renderer.warp, decode=renderer.decode, batch=None, motion=motion)
