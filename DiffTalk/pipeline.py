"""The loaded model, ready to make frames (spec difftalk.md sections 6 and 13)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import InputError, PackError
from core.packs.pack import CHECKPOINTS
from DiffTalk.checkpoint import TRAIN_HINT, Checkpoint, check_full, load_first_stage, load_model, open_checkpoint
from DiffTalk.config import ModelConfig, SampleConfig, load_config
from DiffTalk.model import DiffTalkModel, Encoded
from DiffTalk.networks import decode, denoise, encode
from DiffTalk.pictures import to_bytes
from DiffTalk.sampler import NoiseSource, sample, seeded_noise

LOG = logging.getLogger(__name__)
DEFAULT_CHECKPOINT = CHECKPOINTS / "DiffTalk" / "model.ckpt"
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class DiffTalkPipeline:
    """Networks on a device.

    Attributes:
        model: with the first stage in float32; denoiser and condition encoders in `dtype`.
        settings: defaults of `sample` and `__call__`.
        audio_features: extractor of the speech logits that the model knows, where its file says.
    """

    model: DiffTalkModel
    settings: SampleConfig
    device: torch.device
    dtype: torch.dtype
    audio_features: str | None = None

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.model.config.image_size

    @torch.no_grad()
    def encode(self, batch: Mapping[str, Any]) -> Encoded:
        """Conditions of a batch of `SamplingFaces` or alike: pictures (B, H, W, 3) in [-1, 1], speech, landmarks."""
        given = {key: value.to(self.device) for key, value in batch.items() if isinstance(value, Tensor)}
        context = self.context(given["audio_smooth"], given["landmarks"])
        return Encoded(*self.model.latents(given), context)

    @torch.no_grad()
    def context(self, audio: Tensor, landmarks: Tensor) -> Tensor:
        """Speech (B, 8, 16, 29) and landmarks (B, 39, 2) -> the context (B, 1, 128) in `dtype`."""
        return self.model.encoders(audio.to(self.device, self.dtype), landmarks.to(self.device, self.dtype))

    @torch.no_grad()
    def latents(self, pictures: Tensor) -> Tensor:
        """Pictures (B, H, W, 3) in [-1, 1] -> latents (B, 3, H/4, W/4)."""
        return encode(self.model.first_stage, pictures.to(self.device).permute(0, 3, 1, 2))

    @torch.no_grad()
    def sample(
        self,
        given: Encoded,
        keep: Tensor | None = None,
        noise: NoiseSource | None = None,
        start: Tensor | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """New latents (B, 3, h, w) float32; `keep` (B, h, w) is 1 where those of the frame are kept."""
        shape = tuple(given.latent.shape)
        noise = noise or seeded_noise(shape, self.settings.seed, self.device)
        masked, reference = given.masked.to(self.dtype), given.reference.to(self.dtype)

        def denoiser(x: Tensor, t: Tensor) -> Tensor:
            return denoise(self.model.unet, x.to(self.dtype), masked, reference, t, given.context)

        kept = None if keep is None else keep.to(self.device).float()[:, None]
        return sample(denoiser, noise, steps or self.settings.steps, self.settings.eta, kept, given.latent, start)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents -> (B, H, W, 3) uint8."""
        return to_bytes(decode(self.model.first_stage, latents))

    def __call__(self, batch: Mapping[str, Any]) -> np.ndarray:
        """A batch of `SamplingFaces` -> frames (B, H, W, 3) uint8."""
        return self.decode(self.sample(self.encode(batch), batch.get("inference_mask")))

    def animate(self, source: str | Path, audio: str | Path, output: str | Path, **options: Any) -> Any:
        """Drive a video or portrait with a recording; see `DiffTalk.animation.animate`."""
        from DiffTalk.animation import AnimateOptions, animate

        return animate(self, source, audio, output, AnimateOptions(**options))


def get_difftalk_inference(
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    first_stage: str | Path | None = None,
    device: str = "auto",
    ema: bool = True,
    precision: str = "fp32",
) -> DiffTalkPipeline:
    """The pipeline of a trained model.

    Args:
        config: YAML file; only its `sample` section and `model.image_size` are used, sizes come from the checkpoint.
        checkpoint: full checkpoint [checkpoints/DiffTalk/model.ckpt, where the seed's toolkit looks].
        first_stage: another file for the autoencoder.
        device: cpu, cuda, cuda:1 or auto.
        ema: the denoiser's averaged weights, as the reference samples; False takes the live ones.
        precision: fp32, fp16 or bf16 for the denoiser; half precision needs a GPU.

    Raises PackError, also for a file that holds only the first stage: a denoiser was never published.
    """
    settings = load_config([] if config is None else [config])
    chosen = torch_device(device)
    dtype = half_or_single(precision, chosen)
    path = Path(DEFAULT_CHECKPOINT if checkpoint is None else checkpoint)
    if not path.exists():
        raise PackError(f"{path}: no such checkpoint; no trained denoiser was ever published: {TRAIN_HINT}")
    found = open_checkpoint(path)
    sizes = found.sizes if config is None else replace(found.sizes, image_size=settings.model.image_size)
    model = build(found, sizes, ema)
    if first_stage is not None:
        load_first_stage(open_checkpoint(first_stage), model)
    model = model.to(chosen)
    for part in (model.unet, model.encoders):
        torch.nn.Module.to(part, dtype)  # diffusers' own method warns of modules kept in float32: there are none
    return DiffTalkPipeline(model, settings.sample, chosen, dtype, found.audio_features)


def build(checkpoint: Checkpoint, sizes: ModelConfig, ema: bool) -> DiffTalkModel:
    """The model of a checkpoint in evaluation mode. Raises PackError when it is not a full one."""
    check_full(checkpoint)
    with torch.device("meta"):  # saves the time of random weights
        model = DiffTalkModel(sizes)
    load_model(checkpoint, model, ema)
    return model.eval().requires_grad_(False)


def torch_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:1` -> device. Raises InputError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: use auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise InputError(f"--device {name}: this PyTorch sees no such GPU; use --device cpu")
    return device


def half_or_single(precision: str, device: torch.device) -> torch.dtype:
    """The denoiser's number format; a CPU gets single precision, with a warning. Raises InputError."""
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}: use {', '.join(PRECISIONS)}")
    if device.type == "cpu" and precision != "fp32":
        LOG.warning("%s needs a GPU; going on in fp32", precision)
        return torch.float32
    return PRECISIONS[precision]
