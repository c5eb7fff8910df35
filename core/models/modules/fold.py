"""Arithmetic on constant weights that is done once after loading instead of in every call."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def fold_norm(conv: nn.Module, norm: nn.Module) -> nn.Module:
    """Put a BatchNorm (eval mode) that follows `conv` into the weights of `conv`; returns what replaces the norm.

    conv.weight (out, in, k...), conv.bias (out,) and the statistics of the norm (out,) are combined in float64, so that
    the result differs from the two steps by the rounding of one. Does nothing when the norm is folded already.
    """
    if isinstance(norm, nn.Identity):
        return norm
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = (conv.bias.double() - norm.running_mean.double()) * scale + norm.bias.double()
    shape = (-1,) + (1,) * (conv.weight.dim() - 1)
    dtype, layout = conv.weight.dtype, {"requires_grad": conv.weight.requires_grad}
    conv.weight = nn.Parameter((conv.weight.double() * scale.view(shape)).to(dtype), **layout)
    conv.bias = nn.Parameter(bias.to(dtype), **layout)
    return nn.Identity()


def fold_constants(network: nn.Module) -> nn.Module:
    """Call `fold()` of every part of `network` that has one, innermost first; returns `network`.

    Only for inference: afterwards the state dict has other names and values, and training would be another one.
    """
    for module in reversed(list(network.modules())):
        fold = getattr(module, "fold", None)
        if callable(fold):
            fold()
    return network
