"""Training of a small first stage, for configurations that the published file does not fit.

Not part of the reference, which takes a ready autoencoder: plain L1 and the quantiser's commitment loss, no adversary,
so that it suits pictures of about 64 pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import VQModel
from torch import Tensor
from torch.nn import functional

from DiffTalk import pictures
from DiffTalk.config import LATENT_FACTOR, Config
from DiffTalk.dataset import TalkingFaces
from DiffTalk.networks import build_first_stage, encode

REVIVE_EVERY = 50  # steps between looks for codes that nothing uses
PLAIN_SHARE = 0.3  # of the steps train without codebook and draw the latents towards the reduced picture
LOG_EVERY = 50


def load_frames(config: Config, limit: int = 2000) -> Tensor:
    """Up to `limit` training pictures, evenly spread, (n, 3, H, W) in [-1, 1]."""
    data, size = config.data, config.model.image_size
    faces = TalkingFaces(data.root, "data_train.txt", size, data.mask_point, data.missing)
    chosen = faces.stems[:: max(1, len(faces) // limit)][:limit]
    small = [pictures.resize(pictures.read_picture(faces.layout.picture(stem)), size) for stem in chosen]
    return torch.from_numpy(pictures.to_float(np.stack(small))).permute(0, 3, 1, 2).contiguous()


def train_first_stage(config: Config, frames: Tensor, report: Callable[[str], None], seed: int = 23) -> VQModel:
    """An autoencoder whose latents have zero mean and unit variance on `frames`."""
    settings = config.first_stage
    torch.manual_seed(seed)
    network = build_first_stage(config.model).train()
    _start_plain(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps, settings.learning_rate / 10)
    begin = int(PLAIN_SHARE * settings.steps)
    used = torch.zeros(config.model.codes, dtype=torch.bool)
    for step in range(settings.steps):
        batch = _crops(frames, settings.batch, settings.crop)
        latents = encode(network, batch)
        commitment = torch.zeros(())
        if step >= begin:
            if (step - begin) % REVIVE_EVERY == 0:
                _revive(network, latents.detach(), used)
            quantized, commitment, (_perplexity, _encodings, indices) = network.quantize(latents)
            used[indices] = True
            guide = torch.zeros(())
        else:
            quantized = latents
            guide = (latents - functional.avg_pool2d(batch, LATENT_FACTOR)).abs().mean()
        decoded = network.decoder(network.post_quant_conv(quantized))
        distance = (decoded - batch).abs().mean()
        (distance + commitment + guide).backward()
        optimiser.step()
        rates.step()
        optimiser.zero_grad(set_to_none=True)
        if (step + 1) % LOG_EVERY == 0 or step + 1 == settings.steps:
            report(f"step {step + 1}: distance {distance.item():.4f}, commitment {commitment.item():.4f}")
    network.eval().requires_grad_(False)
    _standardise(network, frames[torch.randint(len(frames), (64,))])
    return network


def _crops(frames: Tensor, count: int, side: int) -> Tensor:
    """Random squares of random pictures, half of them mirrored; a convolutional network learns from small ones too."""
    room = frames.shape[-1] - side + 1
    pieces = []
    for frame, top, left in zip(
        torch.randint(len(frames), (count,)), torch.randint(room, (count,)), torch.randint(room, (count,))
    ):
        piece = frames[frame, :, top : top + side, left : left + side]
        pieces.append(piece.flip(-1) if torch.rand(()) < 0.5 else piece)
    return torch.stack(pieces)


@torch.no_grad()
def _start_plain(network: VQModel) -> None:
    """Residual blocks and attention begin by adding nothing, which makes the first steps count."""
    for name, module in network.named_modules():
        if name.endswith((".conv2", ".to_out.0")):
            module.weight.zero_()
            module.bias.zero_()


@torch.no_grad()
def _revive(network: VQModel, latents: Tensor, used: Tensor) -> None:
    """Move the codes that nothing used onto random latents; forget what was used."""
    found = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    table = network.quantize.embedding.weight
    unused = torch.nonzero(~used).flatten()
    table[unused] = found[torch.randint(len(found), (len(unused),))]
    used[:] = False


@torch.no_grad()
def _standardise(network: VQModel, frames: Tensor) -> None:
    """Shift and scale the latents, which changes no decoded picture: diffusion expects about unit variance."""
    latents = encode(network, frames)
    mean, scale = latents.mean(dim=(0, 2, 3)), latents.std()
    network.quant_conv.weight /= scale
    network.quant_conv.bias.copy_((network.quant_conv.bias - mean) / scale)
    network.quantize.embedding.weight.copy_((network.quantize.embedding.weight - mean) / scale)
    weight = network.post_quant_conv.weight
    network.post_quant_conv.bias += weight[:, :, 0, 0] @ mean
    weight *= scale
