"""DDIM that re-imposes the kept part of the frame before every step (spec difftalk.md section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from DiffTalk.config import DIFFUSION_STEPS
from DiffTalk.schedule import BETA_END, BETA_START, alphas_cumprod, ddim_timesteps

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (noisy latents (B, 3, h, w), timesteps (B,)) -> noise
NoiseSource = Callable[[], Tensor]  # each call gives fresh unit noise of the latents' shape


def build_scheduler() -> DDIMScheduler:
    """Diffusers' scheduler with the table in the precision of the reference."""
    scheduler = DDIMScheduler(
        num_train_timesteps=DIFFUSION_STEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )
    scheduler.alphas_cumprod = torch.from_numpy(alphas_cumprod()).float()  # its own is a product of float32 numbers
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    return scheduler


def seeded_noise(shape: tuple[int, ...], seed: int, device: str | torch.device = "cpu") -> NoiseSource:
    """Unit noise that depends on the seed alone, not on the device."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator).to(device)


def sample(
    denoiser: Denoiser,
    noise: NoiseSource,
    steps: int,
    eta: float = 0.0,
    keep: Tensor | None = None,
    latent: Tensor | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """Latents (B, 3, h, w) float32 made from noise.

    Args:
        noise: drawn in the reference's order: the start, then per step the noise of the kept part and that of the step.
        steps: as for `ddim_timesteps`.
        keep: (B, 1, h, w), 1 where the true `latent` (B, 3, h, w) is re-imposed before each step; None keeps nothing.
        start: instead of the first draw, for example one start for all frames of a clip.

    Raises InputError for a number of steps that does not work.
    """
    *_before, last = (x for x, *_ in trajectory(denoiser, noise, steps, eta, keep, latent, start))
    return last


@torch.no_grad()
def trajectory(
    denoiser: Denoiser,
    noise: NoiseSource,
    steps: int,
    eta: float,
    keep: Tensor | None,
    latent: Tensor | None,
    start: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """After each step: the latents, the clean latents that the denoiser expected, and the noise it saw."""
    timesteps = ddim_timesteps(steps)
    scheduler = build_scheduler()
    scheduler.set_timesteps(steps)
    x = noise() if start is None else start
    for t in map(int, timesteps[::-1]):
        if keep is not None:
            true = scheduler.alphas_cumprod[t] ** 0.5 * latent + (1 - scheduler.alphas_cumprod[t]) ** 0.5 * noise()
            x = keep * true + (1 - keep) * x
        times = torch.full((len(x),), t, dtype=torch.long, device=x.device)
        predicted_noise = denoiser(x, times).float()
        step_noise = noise()  # the reference draws it for eta = 0 too
        done = scheduler.step(predicted_noise, t, x, eta=eta, variance_noise=step_noise if eta else None)
        x = done.prev_sample
        yield x, done.pred_original_sample, predicted_noise
