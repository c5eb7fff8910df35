"""The noise schedule and the timesteps of DDIM (spec difftalk.md sections 5 and 6)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.errors import InputError
from DiffTalk.config import DIFFUSION_STEPS

BETA_START, BETA_END = 0.0015, 0.0195


@lru_cache(maxsize=1)
def betas() -> np.ndarray:
    """(1000,) float64: the square roots are evenly spaced, as latent diffusion means 'linear'."""
    return np.linspace(BETA_START**0.5, BETA_END**0.5, DIFFUSION_STEPS) ** 2


@lru_cache(maxsize=1)
def alphas_cumprod() -> np.ndarray:
    """(1000,) float64: how much of the picture's variance is left at each step."""
    return np.cumprod(1 - betas())


def buffers() -> dict[str, np.ndarray]:
    """The twelve tables that a checkpoint in the original layout holds, (1000,) float32 each."""
    beta, kept = betas(), alphas_cumprod()
    before = np.append(1.0, kept[:-1])
    variance = beta * (1 - before) / (1 - kept)
    tables = {
        "betas": beta,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": np.sqrt(kept),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - kept),
        "log_one_minus_alphas_cumprod": np.log(1 - kept),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / kept),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / kept - 1),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": beta * np.sqrt(before) / (1 - kept),
        "posterior_mean_coef2": (1 - before) * np.sqrt(1 - beta) / (1 - kept),
    }
    return {name: table.astype(np.float32) for name, table in tables.items()}


def vlb_weights() -> np.ndarray:
    """(1000,) float32 weights of the logged variational bound; entry 0 is replaced by entry 1."""
    tables = buffers()  # rounded to float32 before, as in the reference
    variance = tables["posterior_variance"].copy()
    variance[0] = variance[1]  # is 0 and would divide
    kept = (1 - betas()).astype(np.float32)
    weights = tables["betas"] ** 2 / (2 * variance * kept * (1 - tables["alphas_cumprod"]))
    weights[0] = weights[1]
    return weights


def ddim_timesteps(steps: int) -> np.ndarray:
    """Ascending int64 timesteps of a run with `steps` steps; more of them when `steps` does not divide 1000.

    Raises InputError for numbers that reach beyond timestep 999 (there the reference fails with an index error).
    """
    if not 1 <= steps <= DIFFUSION_STEPS:
        raise InputError(f"{steps} sampling steps: give 1 to {DIFFUSION_STEPS}")
    stride = DIFFUSION_STEPS // steps
    timesteps = np.arange(0, DIFFUSION_STEPS, stride, dtype=np.int64) + 1
    if timesteps[-1] >= DIFFUSION_STEPS:
        raise InputError(f"{steps} sampling steps end beyond timestep 999; use a divisor of 1000, as in 10, 50 or 200")
    return timesteps
