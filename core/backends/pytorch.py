"""The networks of `core.models` with published weights behind the Session interface. Needs the extra `torch`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.backends.checkpoint import load_network
from core.backends.compiled import compiled
from core.backends.out_of_memory import out_of_memory
from core.backends.precision import choose_precision, convert_weights, keep_float32_exact
from core.backends.session import CheckedSession, Shape, TensorSpec
from core.errors import InputError, PackError
from core.models.appearance_extractor import AppearanceExtractor, AppearanceSizes
from core.models.decoder import Decoder, DecoderSizes
from core.models.lmdm import Lmdm, LmdmSizes
from core.models.modules.dense_motion import DenseMotionSizes
from core.models.motion_extractor import MotionExtractor, MotionSizes
from core.models.stitch_network import StitchNetwork, StitchSizes
from core.models.warp_network import WarpingNetwork
from core.settings.speed import Speed

LOG = logging.getLogger(__name__)
IMAGE = ("batch", 3, 256, 256)


@dataclass(frozen=True)
class Kind:
    """A network: how it is built, and what goes in and out for given sizes."""

    network: Callable[[Any], nn.Module]
    sizes: type
    inputs: Callable[[Any], dict[str, Shape]]
    outputs: tuple[str, ...]
    half: bool = False  # heavy, and bears half precision


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
        dtype: precision of its convolutions and linear layers.
        call: the network, compiled where that is wanted; inputs by position.
    """

    def __init__(self, path: Path, kind: Kind, network: nn.Module, device: torch.device, speed: Speed = Speed()):
        inputs = {
            name: TensorSpec(name, shape, np.dtype(np.int64 if name == "time_cond" else np.float32))
            for name, shape in kind.inputs(network.sizes).items()
        }
        outputs = {
            name: TensorSpec(name, _output_shape(name, network.sizes), np.dtype(np.float32)) for name in kind.outputs
        }
        super().__init__(path, inputs, outputs)
        self.network, self.device, self.speed = network, device, speed
        self.dtype = choose_precision(speed.precision, device) if kind.half else torch.float32
        if self.dtype != torch.float32:
            convert_weights(network, self.dtype, channels_last=device.type == "cuda")
        self.call = compiled(network, path.name, speed.compile and kind.half)

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See Session; arrays in host memory. Raises InputError when the GPU's memory does not suffice."""
        self.check(inputs)
        with out_of_memory(self.path.name), self.ready():
            found = self.call(*(self.tensor(inputs[name]) for name in self.inputs))
            values = (found,) if isinstance(found, Tensor) else found
            return {name: value.float().cpu().numpy() for name, value in zip(self.outputs, values, strict=True)}

    def tensor(self, array: np.ndarray) -> Tensor:
        """A copy of `array` on the network's device."""
        return torch.tensor(array, device=self.device)

    def ready(self) -> AbstractContextManager:
        """Context for calling `network`: no gradients, half precision where it is wanted."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if self.dtype != torch.float32:  # no cache: the weights are converted already, and recordings must own theirs
            stack.enter_context(torch.autocast(self.device.type, self.dtype, cache_enabled=False))
        return stack


def load_torch(
    path: Path,
    net_name: str,
    device: str = "auto",
    sizes: Mapping[str, Any] | None = None,
    speed: Speed = Speed(),
) -> TorchSession:
    """Load one of KINDS from a file of weights.

    See `core.backends.load` for the arguments. Raises PackError, and InputError when the GPU's memory does not suffice
    or the device that `speed` demands is not there.
    """
    if net_name not in KINDS:
        raise PackError(f"{path}: there is no PyTorch network '{net_name}'; known: {', '.join(KINDS)}")
    kind, where = KINDS[net_name], choose_device(device, demanded=speed.device is not None)
    try:
        chosen = make_sizes(kind.sizes, sizes or {})
        with torch.device("meta"):
            network = kind.network(chosen)
    except (TypeError, ValueError) as error:
        raise PackError(f"{path}: sizes {dict(sizes or {})} are not possible for {net_name} ({error})") from None
    if where.type == "cuda":
        keep_float32_exact()
    with out_of_memory(f"the weights of {net_name}"):
        session = TorchSession(path, kind, load_network(path, network, net_name, where), where, speed)
    if where.type == "cuda":
        torch.cuda.synchronize(where)  # the weights are there before any stream reads them
    return session


def make_sizes(kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass of sizes from plain values, where lists stand for tuples. Raises ValueError for unknown names."""
    known = [field.name for field in fields(kind)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; known are {', '.join(known)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def choose_device(wanted: str, demanded: bool = False) -> torch.device:
    """The device of that name.

    "auto" is the CPU on a machine without a GPU that PyTorch can use. So is every "cuda", which configurations name
    wherever they were made, unless it is `demanded`: then InputError says what is missing.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise PackError(f"device '{wanted}' is not one of auto, cpu, cuda, cuda:0, ...") from None
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) < count:
        return device
    if demanded or count:
        there = f"has {count}, numbered from 0" if count else f"{torch.__version__} finds none; take --device cpu"
        raise InputError(f"device '{wanted}': there is no such GPU (PyTorch {there})")
    LOG.info("no GPU for PyTorch; %s runs on the CPU", wanted)
    return torch.device("cpu")


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
