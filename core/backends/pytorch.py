"""The networks of `core.models` with published weights behind the Session interface. Needs the extra `torch`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.backends.checkpoint import load_network
from core.backends.session import CheckedSession, Shape, TensorSpec
from core.errors import PackError
from core.models.appearance_extractor import AppearanceExtractor, AppearanceSizes
from core.models.decoder import Decoder, DecoderSizes
from core.models.lmdm import Lmdm, LmdmSizes
from core.models.modules.dense_motion import DenseMotionSizes
from core.models.motion_extractor import MotionExtractor, MotionSizes
from core.models.stitch_network import StitchNetwork, StitchSizes
from core.models.warp_network import WarpingNetwork

LOG = logging.getLogger(__name__)
IMAGE = ("batch", 3, 256, 256)


@dataclass(frozen=True)
class Kind:
    """A network: how it is built, and what goes in and out for given sizes."""

    network: Callable[[Any], nn.Module]
    sizes: type
    inputs: Callable[[Any], dict[str, Shape]]
    outputs: tuple[str, ...]
    half: bool = False  # bears half precision on a GPU


def _volume(s: Any) -> Shape:
    return ("batch", s.channels, s.depth, 64, 64)


def _points(s: Any) -> Shape:
    return ("batch", s.points, 3)


def _lmdm_inputs(s: LmdmSizes) -> dict[str, Shape]:
    frame = ("batch", s.frames, s.motion + 1) if s.multi_cond_frame else ("batch", s.motion)
    clip = ("batch", s.frames)
    return {"x": (*clip, s.motion), "cond_frame": frame, "cond": (*clip, s.cond), "time_cond": ("batch",)}


KINDS = {
    "appearance_extractor": Kind(
        AppearanceExtractor, AppearanceSizes, lambda s: {"image": IMAGE}, AppearanceExtractor.OUTPUTS, half=True
    ),
    "motion_extractor": Kind(
        MotionExtractor, MotionSizes, lambda s: {"image": IMAGE}, MotionExtractor.OUTPUTS, half=True
    ),
    "warp_network": Kind(
        WarpingNetwork,
        DenseMotionSizes,
        lambda s: {"feature_3d": _volume(s), **dict.fromkeys(("kp_source", "kp_driving"), ("batch", s.keypoints, 3))},
        ("out",),
        half=True,
    ),
    "decoder": Kind(Decoder, DecoderSizes, lambda s: {"feature": ("batch", s.feature, 64, 64)}, ("output",), half=True),
    "stitch_network": Kind(
        StitchNetwork, StitchSizes, lambda s: dict.fromkeys(StitchNetwork.INPUTS, _points(s)), StitchNetwork.OUTPUTS
    ),
    "lmdm": Kind(Lmdm, LmdmSizes, _lmdm_inputs, ("pred_noise", "x_start")),
}


class TorchSession(CheckedSession):
    """A network with its weights on one device.

    Attributes:
        network: for callers that use more of it than its `forward`; call it within `ready()`.
        device: where its weights are.
    """

    def __init__(self, path: Path, kind: Kind, network: nn.Module, device: torch.device, fp16: bool = True):
        inputs = {
            name: TensorSpec(name, shape, np.dtype(np.int64 if name == "time_cond" else np.float32))
            for name, shape in kind.inputs(network.sizes).items()
        }
        outputs = {
            name: TensorSpec(name, _output_shape(name, network.sizes), np.dtype(np.float32)) for name in kind.outputs
        }
        super().__init__(path, inputs, outputs)
        self.network, self.device = network, device
        self._half = fp16 and kind.half and device.type == "cuda"

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See Session; arrays in host memory."""
        self.check(inputs)
        with self.ready():
            found = self.network(**{name: self.tensor(array) for name, array in inputs.items()})
        values = (found,) if isinstance(found, Tensor) else found
        return {name: value.float().cpu().numpy() for name, value in zip(self.outputs, values, strict=True)}

    def tensor(self, array: np.ndarray) -> Tensor:
        """A copy of `array` on the network's device."""
        return torch.tensor(array, device=self.device)

    def ready(self) -> AbstractContextManager:
        """Context for calling `network`: no gradients, half precision where it is wanted."""
        return _Inference(torch.autocast("cuda", torch.float16) if self._half else nullcontext())


class _Inference(AbstractContextManager):
    """Inference mode and another context."""

    def __init__(self, inner: AbstractContextManager):
        self._contexts = (torch.inference_mode(), inner)

    def __enter__(self) -> None:
        for context in self._contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self._contexts):
            context.__exit__(*error)


def load_torch(
    path: Path, net_name: str, device: str = "auto", sizes: Mapping[str, Any] | None = None, fp16: bool = True
) -> TorchSession:
    """Load one of KINDS from a file of weights. Raises PackError; see `core.backends.load` for the arguments."""
    if net_name not in KINDS:
        raise PackError(f"{path}: there is no PyTorch network '{net_name}'; known: {', '.join(KINDS)}")
    kind, where = KINDS[net_name], choose_device(device)
    try:
        chosen = make_sizes(kind.sizes, sizes or {})
        with torch.device("meta"):
            network = kind.network(chosen)
    except (TypeError, ValueError) as error:
        raise PackError(f"{path}: sizes {dict(sizes or {})} are not possible for {net_name} ({error})") from None
    return TorchSession(path, kind, load_network(path, network, net_name, where), where, fp16)


def make_sizes(kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass of sizes from plain values, where lists stand for tuples. Raises ValueError for unknown names."""
    known = [field.name for field in fields(kind)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; known are {', '.join(known)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def choose_device(wanted: str) -> torch.device:
    """The device of that name. "auto" and every "cuda" are the CPU on a machine without a GPU that PyTorch can use."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise PackError(f"device '{wanted}' is not one of auto, cpu, cuda, cuda:0, ...") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        LOG.info("no GPU for PyTorch; %s runs on the CPU", wanted)
        return torch.device("cpu")
    return device


def _output_shape(name: str, sizes: Any) -> Shape:
    """Shape of an output, for checks before the first run."""
    if name in ("pitch", "yaw", "roll"):
        return ("batch", sizes.bins)
    if name in ("t", "scale"):
        return ("batch", 3 if name == "t" else 1)
    if name in ("exp", "kp"):
        return ("batch", 3 * sizes.points)
    if name in ("pred_noise", "x_start"):
        return ("batch", sizes.frames, sizes.motion)
    if name == "pred":
        return _volume(sizes)
    if name == "output":
        return ("batch", 3, 512, 512)
    return _points(sizes) if isinstance(sizes, StitchSizes) else ("batch", None, 64, 64)
