"""Motion windows from a diffusion model: noise, step times and the sampling loop around it (spec pipeline.md 21)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from core.interfaces import Sampler
from core.models.sampler import Array, Denoiser, Solver, make_solver
from core.motion import MOTION_DIM, SEQ_FRAMES


class ClipModel(Protocol):
    """A denoising network with the array type and device it works on."""

    def array(self, x: np.ndarray) -> Array:
        """float32 array -> the model's own kind of array."""

    def warm_up(self, solver: Solver) -> None:
        """Do now what the first `sample` with this solver would otherwise do besides."""

    def sample(self, cond_frame: np.ndarray, cond: np.ndarray, x: Array, noise: Array, solver: Solver) -> np.ndarray:
        """One clip (1, S, 265) float32.

        Args:
            cond_frame: (1, 265). cond: (1, S, C).
            x: initial noise (1, S, 265). noise: (solver.noises, 1, S, 265), the same object in every window of a run.
        """


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

    def warm_up(self, solver: Solver) -> None:
        """Nothing to do."""

    def sample(self, cond_frame: np.ndarray, cond: np.ndarray, x: Array, noise: Array, solver: Solver) -> np.ndarray:
        """See ClipModel."""
        return solver.run(self._denoiser(cond_frame, cond, solver.times), x, noise)

    def _denoiser(self, cond_frame: np.ndarray, cond: np.ndarray, times: np.ndarray) -> Denoiser:
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
    """

    def __init__(self, model: ClipModel, frames: int = SEQ_FRAMES):
        self._model, self._shape = model, (1, frames, MOTION_DIM)

    def sampler(self, seed: int, steps: int, method: str = "ddim") -> Sampler:
        """The model for one run; `method` as in `core.models.sampler.make_solver`.

        Noise comes from numpy's PCG64 seeded with `seed`, whatever the backend: first the noises of the steps, which
        every window shares (this keeps neighbouring windows alike), then one start per window.

        Raises InputError for an unknown method or an impossible number of steps.
        """
        solver = make_solver(method, steps)
        rng = np.random.default_rng(seed)
        noise = self._model.array(rng.standard_normal((solver.noises, *self._shape), np.float32))
        self._model.warm_up(solver)

        def run(cond_frame: np.ndarray, cond: np.ndarray, start: int) -> np.ndarray:
            x = self._model.array(rng.standard_normal(self._shape, np.float32))
            return self._model.sample(cond_frame, cond, x, noise, solver)

        return run
