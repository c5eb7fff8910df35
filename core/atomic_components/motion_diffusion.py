"""Motion windows from a diffusion model: noise, step times and the sampling loop around it (spec pipeline.md 21)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from core.atomic_components.audio2motion import SEQ_FRAMES, Sampler
from core.models.sampler import Array, Denoiser, Schedule, cosine_schedule, ddim, ddim_plan, dpm_plan, dpm_solver
from core.motion import MOTION_DIM

Method = Literal["ddim", "dpm"]


class ClipModel(Protocol):
    """A denoising network with the array type and device it works on."""

    def array(self, x: np.ndarray) -> Array:
        """float32 array -> the model's own kind of array."""

    def numpy(self, x: Array) -> np.ndarray:
        """The other way round."""

    def clip(self, cond_frame: np.ndarray, cond: np.ndarray, times: np.ndarray, schedule: Schedule) -> Denoiser:
        """Prepare one clip. cond_frame (1, 265), cond (1, S, C), times (n,) int64: time of step i."""


class OneStepModel:
    """A ClipModel from a function that knows nothing of clips: an exported network in a session.

    Args:
        run: called with x (1, S, 265), cond_frame (1, 265), cond (1, S, C), time_cond (1,) int64 by name; returns
            at least `pred_noise` and `x_start`, each (1, S, 265).
    """

    def __init__(self, run: Callable[..., Mapping[str, Any]]):
        self._run = run

    def array(self, x: np.ndarray) -> np.ndarray:
        """float32, in one block."""
        return np.ascontiguousarray(x, np.float32)

    def numpy(self, x: np.ndarray) -> np.ndarray:
        """x itself."""
        return x

    def clip(self, cond_frame: np.ndarray, cond: np.ndarray, times: np.ndarray, schedule: Schedule) -> Denoiser:
        """See ClipModel; the model itself knows the schedule."""
        cond_frame, cond = self.array(cond_frame), self.array(cond)

        def denoise(x: np.ndarray, i: int) -> tuple[np.ndarray, np.ndarray]:
            out = self._run(x=x, cond_frame=cond_frame, cond=cond, time_cond=times[i : i + 1])
            return out["pred_noise"], out["x_start"]

        return denoise


class MotionDiffusion:
    """The motion model of an official pack.

    Args:
        model: LmdmRunner or OneStepModel.
        frames: S, frames per window.
        method: "ddim", the reference's sampler, or "dpm", DPM-Solver++, which needs 10 to 15 steps.
    """

    def __init__(self, model: ClipModel, frames: int = SEQ_FRAMES, method: Method = "ddim"):
        if method not in ("ddim", "dpm"):
            raise ValueError(f"sampling method is {method!r}; it must be 'ddim' or 'dpm'")
        self._model, self._shape, self._method = model, (1, frames, MOTION_DIM), method
        self._schedule = cosine_schedule()

    def sampler(self, seed: int, steps: int) -> Sampler:
        """The model for one run.

        Noise comes from numpy's PCG64 seeded with `seed`, whatever the backend: first the noises of the steps, which
        every window shares (this keeps neighbouring windows alike), then one start per window.
        """
        rng = np.random.default_rng(seed)
        sample = self._ddim(rng, steps) if self._method == "ddim" else self._dpm(steps)

        def run(cond_frame: np.ndarray, cond: np.ndarray, start: int) -> np.ndarray:
            return self._model.numpy(sample(cond_frame, cond, self._noise(rng)))

        return run

    def _ddim(self, rng: np.random.Generator, steps: int) -> Callable[[np.ndarray, np.ndarray, Array], Array]:
        plan = ddim_plan(self._schedule, steps)
        step_noise = [self._noise(rng) for _ in range(steps - 1)]
        return lambda frame, cond, x: ddim(self._clip(frame, cond, plan.times), x, step_noise, plan)

    def _dpm(self, steps: int) -> Callable[[np.ndarray, np.ndarray, Array], Array]:
        plan = dpm_plan(self._schedule, steps)
        return lambda frame, cond, x: dpm_solver(self._clip(frame, cond, plan.times), x, plan)

    def _clip(self, cond_frame: np.ndarray, cond: np.ndarray, times: np.ndarray) -> Denoiser:
        return self._model.clip(cond_frame, cond, times[:-1], self._schedule)

    def _noise(self, rng: np.random.Generator) -> Array:
        return self._model.array(rng.standard_normal(self._shape, np.float32))
