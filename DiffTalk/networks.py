"""The denoiser and the first stage as classes of diffusers (spec difftalk.md sections 2, 4 and 14)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel, VQModel
from torch import Tensor

from DiffTalk.conditions import CONTEXT_WIDTH
from DiffTalk.config import LATENT_CHANNELS, ModelConfig

UNET_MULTIPLIERS = (1, 2, 3, 4)
FIRST_STAGE_MULTIPLIERS = (1, 2, 4)
INPUTS = 3  # latents joined along channels: noisy, masked frame, reference


class OneTokenAttention:
    """Cross-attention to a single token: its softmax is 1, so queries and keys decide nothing.

    The result is the same at every position: to_out(to_v(context)). `to_q`, `to_k` and the norm before them get no
    gradient, as in the reference, where it is exactly zero.
    """

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **ignored: Any) -> Tensor:
        """(B, N, C) and context (B, 1, 128) -> (B, 1, C), which broadcasts over the positions."""
        return attn.to_out[0](attn.to_v(encoder_hidden_states))


def build_unet(config: ModelConfig) -> UNet2DConditionModel:
    """The denoiser, with the values that diffusers starts from (see `zero_outputs` for training)."""
    widths = [config.unet_width * factor for factor in UNET_MULTIPLIERS]
    unet = UNet2DConditionModel(
        sample_size=config.latent_size,
        in_channels=INPUTS * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * 3),
        up_block_types=(*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"),
        block_out_channels=widths,
        layers_per_block=2,
        cross_attention_dim=CONTEXT_WIDTH,
        attention_head_dim=[width // config.head_width for width in widths],  # diffusers means the number of heads
        norm_num_groups=config.norm_groups,
    )
    processors = dict(unet.attn_processors)
    unet.set_attn_processor(
        {name: OneTokenAttention() if ".attn2." in name else kept for name, kept in processors.items()}
    )
    return unet


def zero_outputs(unet: UNet2DConditionModel) -> None:
    """Start of a fresh training: each block adds nothing and the network answers exactly 0."""
    for name, module in unet.named_modules():
        if name == "conv_out" or name.endswith((".proj_out", ".conv2")):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)


def build_first_stage(config: ModelConfig) -> VQModel:
    """The autoencoder: pictures in [-1, 1] to latents of a quarter of their side, and back."""
    widths = [config.first_stage_width * factor for factor in FIRST_STAGE_MULTIPLIERS]
    return VQModel(
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        block_out_channels=widths,
        layers_per_block=2,
        latent_channels=LATENT_CHANNELS,
        sample_size=config.image_size,
        num_vq_embeddings=config.codes,
        vq_embed_dim=LATENT_CHANNELS,
        norm_num_groups=config.norm_groups,
        scaling_factor=1.0,
    )


def encode(first_stage: VQModel, pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1], sides multiples of 4 -> continuous latents (B, 3, H/4, W/4)."""
    return first_stage.encode(pictures).latents


def decode(first_stage: VQModel, latents: Tensor, quantize: bool = True) -> Tensor:
    """(B, 3, h, w) -> pictures (B, 3, 4h, 4w), about [-1, 1]; the latents go through the codebook first."""
    return first_stage.decode(latents, force_not_quantize=not quantize).sample


def denoise(unet: UNet2DConditionModel, noisy: Tensor, masked: Tensor, reference: Tensor, t: Tensor, context: Tensor):
    """The noise in `noisy` (B, 3, h, w) at timesteps t (B,), told by the other latents and the context (B, 1, 128)."""
    return unet(torch.cat([noisy, masked, reference], dim=1), t, context, return_dict=False)[0]
