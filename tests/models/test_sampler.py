"""Noise schedule and samplers: golden tables, and solvers on a problem whose solution is known."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InputError
from core.models.sampler import (
    cosine_betas,
    cosine_schedule,
    ddim,
    ddim_plan,
    dpm_plan,
    dpm_solver,
    dpm_times,
    step_times,
)

SCHEDULE = cosine_schedule()
MEAN, SPREAD = np.linspace(-1, 1, 40), np.geomspace(0.01, 2, 40)  # of the Gaussian data below


def gaussian(times):
    """The exact denoiser of data N(MEAN, SPREAD^2)."""

    def denoise(x, i):
        power = SCHEDULE.alphas[times[i]].astype(np.float64)
        gain = np.sqrt(power) * SPREAD**2 / (power * SPREAD**2 + 1 - power)
        start = MEAN + gain * (x - np.sqrt(power) * MEAN)
        return (x - np.sqrt(power) * start) / np.sqrt(1 - power), start

    return denoise


def gaussian_solution(x, times):
    """Where the noise-free flow from x at the first time arrives: moved along to the last time, then denoised."""
    first, last = SCHEDULE.alphas[times[[0, -2]]].astype(np.float64)
    wide, narrow = (np.sqrt(a * SPREAD**2 + 1 - a) for a in (first, last))
    moved = np.sqrt(last) * MEAN + narrow / wide * (x - np.sqrt(first) * MEAN)
    return gaussian(times[-2:])(moved, 0)[1]


def test_schedule(golden):
    want = golden("lmdm.npz")
    np.testing.assert_allclose(cosine_betas(), want["schedule/betas64"], rtol=1e-12)
    np.testing.assert_array_equal(SCHEDULE.alphas, want["schedule/alphas_cumprod"])
    np.testing.assert_allclose(SCHEDULE.start_divisor, want["schedule/sqrt_recipm1_alphas_cumprod"], rtol=2e-7)
    np.testing.assert_allclose(SCHEDULE.noise_factor, want["schedule/sqrt_recip1m_alphas_cumprod"], rtol=2e-7)
    assert {a.dtype for a in vars(SCHEDULE).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("steps", [5, 10, 20, 25, 30, 50, 100])
def test_ddim_tables(golden, steps):
    want, plan = golden("lmdm.npz"), ddim_plan(SCHEDULE, steps)
    names = {"alpha_next_sqrt": plan.signal, "sigma": plan.sigma, "c": plan.direction}
    np.testing.assert_array_equal(plan.times, want[f"schedule/{steps}/times"])
    for name, found in names.items():
        np.testing.assert_allclose(found, want[f"schedule/{steps}/{name}"], rtol=1e-5)
    pipeline = golden("pipeline_ddim.npz")
    if f"times_{steps}" in pipeline:
        np.testing.assert_array_equal(plan.times, pipeline[f"times_{steps}"])
        assert len(plan.sigma) == pipeline[f"n_noise_{steps}"]
        for name, found in names.items():
            np.testing.assert_allclose(found, pipeline[f"{name}_{steps}"], rtol=1e-5)
        np.testing.assert_array_equal(SCHEDULE.alphas[pipeline["alphas_cumprod_idx"]], pipeline["alphas_cumprod"])


@pytest.mark.parametrize("steps", [1, 2, 3, 12, 50, 333, 999, 1000])
def test_every_number_of_steps_has_a_plan(steps):
    for plan in (ddim_plan(SCHEDULE, steps), dpm_plan(SCHEDULE, steps)):
        assert len(plan.times) == steps + 1 and plan.times[0] == 999 and plan.times[-1] == -1
        assert (np.diff(plan.times) < 0).all()
        assert all(np.isfinite(values).all() for values in vars(plan).values())


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_impossible_numbers_of_steps(steps):
    for plan in (ddim_plan, dpm_plan):
        with pytest.raises(InputError, match=f"sampling_timesteps is {steps}; it must be 1 .. 1000"):
            plan(SCHEDULE, steps)


def test_dpm_ends_where_fifty_steps_end():
    assert dpm_times(SCHEDULE, 12)[-2] == step_times(50)[-2] == 19
    assert dpm_times(SCHEDULE, 200)[-2] == step_times(200)[-2] == 4


def test_noise_undoes_the_mixture():
    start, noise = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    power = SCHEDULE.alphas[500]
    np.testing.assert_allclose(
        SCHEDULE.noise(np.sqrt(power) * start + np.sqrt(1 - power) * noise, start, 500), noise, atol=1e-5
    )


def test_solvers_reach_the_known_solution():
    x = np.random.default_rng(1).standard_normal((500, 40))

    def error(plan, sample, *more):
        found, want = sample(gaussian(plan.times), x, *more, plan), gaussian_solution(x, plan.times)
        return np.sqrt(np.mean((found - want) ** 2, axis=0) / np.var(want, axis=0)).max()

    dpm = {n: error(dpm_plan(SCHEDULE, n), dpm_solver) for n in (10, 15, 30, 60)}
    plain = {n: error(ddim_plan(SCHEDULE, n, eta=0), ddim, []) for n in (50, 200)}
    assert plain[200] < plain[50]
    assert dpm[10] < 0.05 and dpm[15] < 0.02 and dpm[30] < dpm[15] / 2 and dpm[60] < dpm[30] / 3, dpm
    assert dpm[15] < plain[50], (dpm, plain)


def test_ddim_with_noise_keeps_the_distribution():
    rng, plan = np.random.default_rng(2), ddim_plan(SCHEDULE, 50)
    x, *noise = rng.standard_normal((50, 4000, 40))
    found = ddim(gaussian(plan.times), x, noise, plan)
    wide = SPREAD > 0.3  # narrower dimensions lose spread at the last step, which only denoises
    np.testing.assert_allclose(found.mean(axis=0), MEAN, atol=0.15)
    np.testing.assert_allclose(found.std(axis=0)[wide], SPREAD[wide], rtol=0.12)


def test_step_noise_is_used_in_order_and_not_after_the_last_step():
    plan, used = ddim_plan(SCHEDULE, 3), []

    def denoise(x, i):
        used.append(float(x.mean()))
        return np.zeros_like(x), np.zeros_like(x)

    result = ddim(denoise, np.full((1, 2), 7.0), [np.full((1, 2), 1.0), np.full((1, 2), 2.0)], plan)
    np.testing.assert_allclose(used, [7, plan.sigma[0], 2 * plan.sigma[1]], rtol=1e-6)
    assert not result.any()
