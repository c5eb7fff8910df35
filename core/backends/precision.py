"""Half precision: which kind a network runs in, and weights stored in it once instead of cast in every call.

Convolutions and linear layers hold half-precision weights; the networks still run within autocast, which brings their
inputs to the same precision and keeps norms, softmax and the like in float32. This gives the numbers of plain autocast,
which casts every frozen weight anew in each call. Spec models.md 11.
"""

from __future__ import annotations

import torch
from torch import nn

from core.errors import InputError
from core.models.modules.spectral import SpectralConv2d

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, SpectralConv2d)


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The type of numbers for `wanted` ("auto", "fp32", "fp16", "bf16") on this device.

    Raises InputError for fp16 on a CPU, which computes it many times slower than float32.
    """
    if wanted == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if wanted == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs a GPU: on the CPU it is many times slower; take fp32 or bf16")
    return HALF.get(wanted, torch.float32)


@torch.no_grad()
def convert_weights(network: nn.Module, dtype: torch.dtype, channels_last: bool = False) -> nn.Module:
    """Store weights and biases of convolutions and linear layers in `dtype`; returns `network`, for use in autocast.

    Args:
        network: with its constants folded (`fold_constants`).
        channels_last: lay the kernels of 2-D and 3-D convolutions out as tensor cores read them.
    """
    for module in network.modules():
        if not isinstance(module, WEIGHTED):
            continue
        for name, value in list(module.named_parameters(recurse=False)):
            value = value.to(dtype)
            if channels_last and name == "weight" and value.dim() in (4, 5):
                layout = torch.channels_last if value.dim() == 4 else torch.channels_last_3d
                value = value.contiguous(memory_format=layout)
            setattr(module, name, nn.Parameter(value, requires_grad=False))
    return network


def keep_float32_exact() -> None:
    """On GPUs, for the whole process: no 19-bit numbers in float32 convolutions; algorithms chosen by trying them."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
