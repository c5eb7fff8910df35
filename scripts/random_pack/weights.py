"""Deterministic random weights of the official networks, scaled so that activations stay of order one.

Used by make_random_pack.py. Each tensor depends only on the seed, the network, its name and its shape.
"""

from __future__ import annotations

import re
import zlib

import torch
from torch import Tensor, nn

POWER_STEPS = 40
MOTION_LIKE = slice(199, 265)  # of a motion vector: translation and expression, which are small numbers
SMALL = 0.1

# (name, kind, arguments), the first that matches: "fan" gain is noise of variance gain^2 / inputs, "range" is uniform
COMMON = [
    (r"num_batches_tracked$", "zero", ()),
    (r"running_mean$", "range", (-0.3, 0.3)),
    (r"running_var$", "range", (0.6, 1.6)),
    (r"(layer_)?norm(\d|_cond)?\.weight$", "range", (0.7, 1.3)),
    (r"(layer_)?norm(\d|_cond)?\.bias$", "range", (-0.2, 0.2)),
]
REST = [(r"bias$", "range", (-0.1, 0.1)), (r"", "fan", (2**0.5,))]
RULES = {
    "appearance_extractor": [(r"^first\.conv\.weight$", "fan", (3.0,)), (r"conv2\.weight$", "fan", (0.6,))],
    "motion_extractor": [
        (r"grn\.gamma$", "range", (-0.2, 0.6)),
        (r"grn\.beta$", "range", (-0.2, 0.2)),
        (r"downsample_layers\.(0\.1|[123]\.0)\.weight$", "range", (0.7, 1.3)),
        (r"pwconv2\.weight$", "fan", (0.7,)),
        (r"fc_(pitch|yaw|roll)\.bias$", "range", (-1.0, 1.0)),
        (r"fc_(t|scale)\.weight$", "fan", (0.05,)),
        (r"fc_t\.bias$", "range", (-0.05, 0.05)),
        (r"fc_exp\.weight$", "fan", (0.02,)),
        (r"fc_exp\.bias$", "range", (-0.02, 0.02)),
        (r"fc_scale\.bias$", "range", (1.2, 1.4)),
        (r"fc_kp\.weight$", "fan", (0.1,)),
        (r"fc_kp\.bias$", "range", (-0.3, 0.3)),
        (r"weight$", "fan", (1.0,)),
    ],
    "warp_network": [(r"network\.mask\.weight$", "fan", (5.0,)), (r"network\.occlusion\.weight$", "fan", (2.5,))],
    "decoder": [
        (r"mlp_(gamma|beta)\.weight$", "fan", (0.7,)),
        (r"conv_img\.0\.weight$", "fan", (1.8,)),
    ],
    "stitch_network": [(r"mlp\.6\.weight$", "fan", (0.02,)), (r"mlp\.6\.bias$", "range", (-0.01, 0.01))],
    "lmdm": [
        (r"rotary\.freqs$", "keep", ()),
        (r"^null_cond_", "range", (-(3**0.5), 3**0.5)),
        (r"non_attn_cond_projection\.0\.weight$", "range", (0.7, 1.3)),
        (r"film\d\.block\.1\.weight$", "fan", (0.5,)),
        (r"^final_layer\.weight$", "fan", (0.1,)),
        (r"weight$", "fan", (1.0,)),
    ],
    "hubert": [
        (r"parametrizations\.weight\.original\d$", "keep", ()),
        (r"conv\.weight$", "fan", (1.5,)),
        (r"weight$", "fan", (1.0,)),
    ],
}


@torch.no_grad()
def fill(network: nn.Module, net_name: str, seed: int = 0) -> nn.Module:
    """Give `network` the random weights of (seed, net_name); returns it in eval mode, without gradients."""
    state = network.state_dict()
    for name, tensor in state.items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{net_name}/{name}".encode()))
        _draw(tensor, net_name, name, generator)
    for name in state:
        if name.endswith("weight_orig"):
            base = name.removesuffix("_orig")
            _singular(state[name].flatten(1), state[f"{base}_u"], state[f"{base}_v"])
    if net_name == "lmdm":
        state["final_layer.weight"][MOTION_LIKE] *= SMALL
        state["final_layer.bias"][MOTION_LIKE] *= SMALL
    return network.eval().requires_grad_(False)


def _draw(tensor: Tensor, net_name: str, name: str, generator: torch.Generator) -> None:
    """Fill one tensor in place."""
    rules = (*COMMON, *RULES[net_name], *REST)
    kind, values = next((kind, values) for pattern, kind, values in rules if re.search(pattern, name))
    if kind == "range":
        tensor.uniform_(*values, generator=generator)
    elif kind == "fan":
        inputs = max(tensor[0].numel(), 1) if tensor.dim() > 1 else 1
        bound = 3**0.5 * values[0] / inputs**0.5  # uniform noise: several times faster to draw than normal noise
        tensor.uniform_(-bound, bound, generator=generator)
    elif kind == "zero":
        tensor.zero_()


def _singular(matrix: Tensor, u: Tensor, v: Tensor) -> None:
    """Write the top singular vectors of matrix (n, m) into u (n,) and v (m,)."""
    u.copy_(nn.functional.normalize(torch.ones_like(u), dim=0))
    for _ in range(POWER_STEPS):
        v.copy_(nn.functional.normalize(matrix.T @ u, dim=0))
        u.copy_(nn.functional.normalize(matrix @ v, dim=0))
