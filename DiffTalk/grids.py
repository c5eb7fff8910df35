"""Sample grids of a training run: one row per item, from what is known to what the model makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.errors import OutputError
from core.utils.whole_file import whole_file
from DiffTalk.model import DiffTalkModel
from DiffTalk.networks import decode, denoise
from DiffTalk.pictures import to_bytes
from DiffTalk.sampler import sample, seeded_noise

COLUMNS = ("frame", "masked", "reference", "reconstruction", "sample")


@torch.no_grad()
def sample_grid(model: DiffTalkModel, batch: dict[str, Tensor], steps: int, seed: int) -> np.ndarray:
    """(B H, 5 W, 3) uint8 for a batch of `SamplingFaces`; the columns are COLUMNS."""
    given = model.encode(batch)
    keep = batch["inference_mask"][:, None].float()

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        return denoise(model.unet, x, given.masked, given.reference, t, given.context)

    noise = seeded_noise(tuple(given.latent.shape), seed, given.latent.device)
    made = sample(denoiser, noise, steps, keep=keep, latent=given.latent)
    shown = [batch[name].permute(0, 3, 1, 2) for name in ("image", "image_mask", "reference_img")]
    shown += [decode(model.first_stage, given.latent), decode(model.first_stage, made)]
    columns = [to_bytes(pictures) for pictures in shown]
    return np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)


def save_png(picture: np.ndarray, path: Path) -> None:
    """(H, W, 3) uint8 -> PNG, complete or not at all. Raises OutputError."""
    try:
        with whole_file(path) as part:
            Image.fromarray(picture).save(part, format="PNG")
    except OSError as error:
        raise OutputError(f"{path}: cannot write this picture ({error.strerror or error})") from error
