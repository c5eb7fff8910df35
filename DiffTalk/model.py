"""All networks of DiffTalk together: what is trained, what a checkpoint holds, and the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from DiffTalk.conditions import ConditionEncoders
from DiffTalk.config import ModelConfig
from DiffTalk.networks import build_first_stage, build_unet, denoise, encode, zero_outputs
from DiffTalk.schedule import alphas_cumprod, vlb_weights


@dataclass(frozen=True)
class Encoded:
    """A batch as the denoiser wants it: latents (B, 3, h, w) and the context (B, 1, 128)."""

    latent: Tensor
    masked: Tensor
    reference: Tensor
    context: Tensor


class DiffTalkModel(nn.Module):
    """Denoiser, condition encoders and the frozen first stage."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.unet = build_unet(config)
        self.encoders = ConditionEncoders()
        self.first_stage = build_first_stage(config).requires_grad_(False).eval()
        kept = torch.from_numpy(alphas_cumprod())
        self.register_buffer("signal", kept.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - kept).sqrt().float(), persistent=False)
        self.register_buffer("vlb", torch.from_numpy(vlb_weights()), persistent=False)

    def start_fresh(self) -> None:
        """Prepare untrained networks for training: the denoiser answers exactly 0."""
        zero_outputs(self.unet)

    def train(self, mode: bool = True) -> DiffTalkModel:
        """As everywhere, but the first stage always stays as it is."""
        super().train(mode)
        self.first_stage.eval()
        return self

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that training changes."""
        for name, parameter in self.named_parameters():
            if not name.startswith("first_stage."):
                yield name, parameter

    @torch.no_grad()
    def latents(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of `image`, `image_mask` and `reference_img`, each (B, H, W, 3) in [-1, 1]; always in float32."""
        names = ("image", "image_mask", "reference_img")
        pictures = torch.cat([batch[name].permute(0, 3, 1, 2) for name in names])
        with torch.autocast(pictures.device.type, enabled=False):
            return encode(self.first_stage, pictures.float()).chunk(len(names))

    def encode(self, batch: Mapping[str, Tensor]) -> Encoded:
        """The conditions of a batch of the data set's items."""
        context = self.encoders(batch["audio_smooth"], batch["landmarks"])
        return Encoded(*self.latents(batch), context)

    def add_noise(self, latent: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """`latent` (B, 3, h, w) after t (B,) steps of the diffusion."""
        shape = (-1, 1, 1, 1)
        return self.signal[t].view(shape) * latent + self.noise[t].view(shape) * noise

    def forward(self, batch: Mapping[str, Tensor], t: Tensor, noise: Tensor) -> Tensor:
        """Loss per item (B,) float32: mean square of the error in predicting `noise` (B, 3, h, w) at timesteps t (B,).

        Spec difftalk.md section 5. The whole latent counts, not only what the mask hides.
        """
        given = self.encode(batch)
        noisy = self.add_noise(given.latent, t, noise)
        predicted = denoise(self.unet, noisy, given.masked, given.reference, t, given.context)
        return (predicted.float() - noise).square().mean(dim=(1, 2, 3))
