"""Diffusion sampling: noise schedule, DDIM and DPM-Solver++ as pure functions over arrays (spec models.md 10).

Nothing here knows torch or a network. `x` may be a numpy array or a torch tensor: the loops use Python floats and
arithmetic only. A denoiser is called with x and the number i of the step, 0 .. n - 1, and looks at `plan.times[i]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import InputError

TRAIN_STEPS = 1000
OFFSET = 0.008  # of the cosine schedule
MAX_BETA = 0.999
SECOND_TIME = 960  # of DPM-Solver++: the first at which the network can tell signal from noise
LAST_TIME = 19  # at which the reference's 50 steps look last; the clean sample is what the network says there

Array = Any  # numpy.ndarray or torch.Tensor, the same kind throughout one call
Denoiser = Callable[[Array, int], tuple[Array, Array]]  # (x, i) -> predicted noise, predicted clean sample


@dataclass(frozen=True)
class Schedule:
    """Tables over the T times of training, each (T,) float32.

    Attributes:
        alphas: A, cumulative signal power.
        start_divisor: R = sqrt(1 / A - 1).
        noise_factor: Q = sqrt(1 / (1 - A)); the noise in x is Q x - x0 / R.
    """

    alphas: np.ndarray
    start_divisor: np.ndarray
    noise_factor: np.ndarray

    def noise(self, x: Array, start: Array, time: int) -> Array:
        """The noise that x holds at `time` if `start` is its clean sample."""
        return float(self.noise_factor[time]) * x - start / float(self.start_divisor[time])


def cosine_betas(steps: int = TRAIN_STEPS) -> np.ndarray:
    """(steps,) float64 noise power added at each time."""
    at = np.arange(steps + 1, dtype=np.float64) / steps
    kept = np.cos((at + OFFSET) / (1 + OFFSET) * np.pi / 2) ** 2
    kept = kept / kept[0]
    return np.clip(1 - kept[1:] / kept[:-1], 0, MAX_BETA)


def cosine_schedule(steps: int = TRAIN_STEPS) -> Schedule:
    """The schedule that the motion model was trained with."""
    alphas = np.float32(1) - cosine_betas(steps).astype(np.float32)
    total = np.cumprod(alphas, dtype=np.float64).astype(np.float32)
    one = np.float32(1)  # float32 throughout, though it loses digits at small times: the network saw these numbers
    return Schedule(total, np.sqrt(one / total - one), np.sqrt(one / (one - total)))


def step_times(steps: int, train_steps: int = TRAIN_STEPS) -> np.ndarray:
    """(steps + 1,) int64 falling times, from train_steps - 1 to -1, which stands for the clean sample."""
    if not 1 <= steps <= train_steps:
        raise InputError(f"sampling_timesteps is {steps}; it must be 1 .. {train_steps}")
    return np.linspace(-1, train_steps - 1, steps + 1, dtype=np.float32).astype(np.int64)[::-1].copy()


@dataclass(frozen=True)
class DdimPlan:
    """Coefficients of n DDIM steps: x' = signal x0 + direction eps + sigma z. The last step is x' = x0.

    Attributes:
        times: (n + 1,) int64, ending in -1.
        signal, direction, sigma: (n - 1,) float32.
    """

    times: np.ndarray
    signal: np.ndarray
    direction: np.ndarray
    sigma: np.ndarray


def ddim_plan(schedule: Schedule, steps: int, eta: float = 1.0) -> DdimPlan:
    """Plan of `steps` steps; eta 1 draws fresh noise at each of them (as the reference does), eta 0 none."""
    times = step_times(steps, len(schedule.alphas))
    now, after = schedule.alphas[times[:-2]], schedule.alphas[times[1:-1]]
    one = np.float32(1)
    sigma = np.float32(eta) * np.sqrt((one - now / after) * (one - after) / (one - now))
    left = np.maximum(one - after - sigma**2, 0)  # rounding makes it negative for 3 steps
    return DdimPlan(times, np.sqrt(after), np.sqrt(left), sigma)


def ddim(denoise: Denoiser, x: Array, step_noise: Sequence[Array], plan: DdimPlan) -> Array:
    """Sample with DDIM.

    Args:
        x: initial noise, any shape.
        step_noise: n - 1 noises of that shape, in the order of use; not read where sigma is 0.
    """
    last = len(plan.times) - 2
    for i in range(last):
        noise, start = denoise(x, i)
        x = float(plan.signal[i]) * start + float(plan.direction[i]) * noise
        if plan.sigma[i]:
            x = x + float(plan.sigma[i]) * step_noise[i]
    return denoise(x, last)[1]


@dataclass(frozen=True)
class DpmPlan:
    """Coefficients of n steps of DPM-Solver++ (2M): x' = keep x + signal (x0 + slope (x0 - previous x0)).

    Attributes:
        times: (n + 1,) int64, ending in -1.
        keep, signal, slope: (n - 1,) float64; slope[0] is 0. The last step is x' = x0.
    """

    times: np.ndarray
    keep: np.ndarray
    signal: np.ndarray
    slope: np.ndarray


def dpm_times(schedule: Schedule, steps: int, last: int = LAST_TIME) -> np.ndarray:
    """(steps + 1,) int64 falling times: the first, then evenly in log signal-to-noise ratio down to `last`, then -1.

    Few steps so end where many do, and waste none on pure noise: the second time is SECOND_TIME. Where evenly spaced
    times would come closer to either end, these do too.
    """
    even = step_times(steps, len(schedule.alphas))
    if steps == 1:
        return even
    low, high = min(last, int(even[-2])), max(SECOND_TIME, int(even[1]))
    power = schedule.alphas.astype(np.float64)
    ratio = np.log(power / (1 - power))  # falls with time
    wanted = np.linspace(ratio[low], ratio[high], steps - 1)
    rank = np.arange(steps - 1)
    rising = np.rint(np.interp(-wanted, -ratio, np.arange(len(ratio))))
    rising = np.maximum.accumulate(rising - rank) + rank  # no time twice
    rising = np.minimum(rising, high + 1 - len(rank) + rank)
    return np.concatenate(([even[0]], rising[::-1], [-1])).astype(np.int64)


def dpm_plan(schedule: Schedule, steps: int, last: int = LAST_TIME) -> DpmPlan:
    """Plan of `steps` steps down to time `last`; second order in half the logarithm of the signal-to-noise ratio."""
    times = dpm_times(schedule, steps, last)
    power = schedule.alphas[times[:-1]].astype(np.float64)
    signal, spread = np.sqrt(power), np.sqrt(1 - power)
    advance = np.diff(np.log(signal / spread))  # h, > 0
    slope = np.zeros_like(advance)
    slope[1:] = advance[1:] / (2 * advance[:-1])
    return DpmPlan(times, spread[1:] / spread[:-1], -signal[1:] * np.expm1(-advance), slope)


def dpm_solver(denoise: Denoiser, x: Array, plan: DpmPlan) -> Array:
    """Sample with DPM-Solver++ (2M), which draws no noise: the result depends on the initial x alone."""
    last = len(plan.times) - 2
    previous: Array | None = None
    for i in range(last):
        start = denoise(x, i)[1]
        target = start if previous is None else start + float(plan.slope[i]) * (start - previous)
        x = float(plan.keep[i]) * x + float(plan.signal[i]) * target
        previous = start
    return denoise(x, last)[1]


@dataclass(frozen=True)
class Solver:
    """A sampling method, its steps and their coefficients; equal where method and steps are.

    Attributes:
        method: "ddim", the reference's (eta 1), or "dpm", DPM-Solver++ (2M), which needs 10 to 15 steps.
    """

    method: str
    steps: int
    schedule: Schedule = field(repr=False, compare=False)
    plan: DdimPlan | DpmPlan = field(repr=False, compare=False)

    @property
    def times(self) -> np.ndarray:
        """(steps,) int64 times at which the network is asked."""
        return self.plan.times[:-1]

    @property
    def noises(self) -> int:
        """Noises that a run draws besides its start."""
        return self.steps - 1 if self.method == "ddim" else 0

    def run(self, denoise: Denoiser, x: Array, step_noise: Sequence[Array]) -> Array:
        """Sample from initial noise x with `noises` more of its shape."""
        if isinstance(self.plan, DdimPlan):
            return ddim(denoise, x, step_noise, self.plan)
        return dpm_solver(denoise, x, self.plan)


def make_solver(method: str, steps: int) -> Solver:
    """The solver of that name. Raises InputError for another method or an impossible number of steps."""
    plans = {"ddim": ddim_plan, "dpm": dpm_plan}
    if method not in plans:
        raise InputError(f"option 'sampler' is {method!r}; it must be {' or '.join(plans)}")
    schedule = cosine_schedule()
    return Solver(method, steps, schedule, plans[method](schedule, steps))
