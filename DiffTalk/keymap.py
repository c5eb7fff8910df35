"""Names of tensors: what diffusers calls them -> what a checkpoint in the original layout calls them.

Rules of spec difftalk.md section 14. One direction is enough: a reader asks for the name of each tensor that it needs,
a writer renames what it has.
"""

from __future__ import annotations

import re

UNET = "model.diffusion_model."
EMA = "model_ema."
FIRST_STAGE = "first_stage_model."
ENCODERS = ("cond_stage_model_for_audio.", "cond_stage_model_for_audio_smooth.", "cond_stage_model_for_ldm.")
EMA_DECAY, EMA_UPDATES = EMA + "decay", EMA + "num_updates"

_LAST_LEVEL = 2  # of the first stage's decoder, whose levels the two sides count from opposite ends
_PLAIN = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_FIRST_STAGE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
_CONVOLUTION = re.compile(r"\.attn_1\.(q|k|v|proj_out)\.weight$")  # linear layers in diffusers


def unet_name(name: str) -> str:
    """Checkpoint name, without prefix, of a tensor of `UNet2DConditionModel`. Raises KeyError for a foreign name."""
    head, _, leaf = name.rpartition(".")
    if head in _PLAIN:
        return f"{_PLAIN[head]}.{leaf}"
    if found := _MIDDLE.fullmatch(name):
        kind, place, rest = found.groups()
        return f"middle_block.{2 * int(place) if kind == 'resnets' else 1}.{_inner(kind, rest)}"
    if found := _BLOCK.fullmatch(name):
        side, level, kind, place, rest = found.groups()
        return _level_name(side, 3 * int(level), kind, int(place), rest)
    raise KeyError(name)


def _level_name(side: str, first: int, kind: str, place: int, rest: str) -> str:
    """`first` counts the blocks before this level, without the very first convolution on the way down."""
    if kind == "downsamplers":
        return f"input_blocks.{first + 3}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{first + 2}.2.{rest}"
    block = f"input_blocks.{first + place + 1}" if side == "down" else f"output_blocks.{first + place}"
    return f"{block}.{0 if kind == 'resnets' else 1}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    layer, _, leaf = rest.partition(".")
    return f"{_RESIDUAL[layer]}.{leaf}"


def first_stage_name(name: str) -> str:
    """Checkpoint name, without prefix, of a tensor of `VQModel`. Raises KeyError for a foreign name."""
    half, _, rest = name.partition(".")
    if half not in ("encoder", "decoder"):
        return name  # codebook and the two 1x1 convolutions have the same names
    rest = rest.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if found := _MIDDLE.fullmatch(rest):
        kind, place, inner = found.groups()
        if kind == "resnets":
            return f"{half}.mid.block_{int(place) + 1}.{inner}"
        layer, _, leaf = inner.rpartition(".")
        return f"{half}.mid.attn_{int(place) + 1}.{_FIRST_STAGE_ATTENTION[layer]}.{leaf}"
    if found := _BLOCK.fullmatch(rest):
        side, level, kind, place, inner = found.groups()
        level = level if side == "down" else str(_LAST_LEVEL - int(level))
        block = f"block.{place}" if kind == "resnets" else f"{side}sample"
        return f"{half}.{side}.{level}.{block}.{inner}"
    return f"{half}.{rest}"


def is_pointwise(first_stage_tensor: str) -> bool:
    """Whether the checkpoint holds this tensor as a 1x1 convolution where diffusers has a linear layer."""
    return bool(_CONVOLUTION.search(first_stage_tensor))


def ema_name(unet_tensor: str) -> str:
    """Name of the average of `model.diffusion_model.<...>`: all dots after the prefix are gone."""
    return EMA + unet_tensor.removeprefix("model.").replace(".", "")
