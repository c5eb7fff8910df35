"""MotionDiffusion around a function in place of a network: seeds, shared noise, what the function is given."""

from __future__ import annotations

import numpy as np
import pytest

from core.atomic_components.motion_diffusion import MotionDiffusion, OneStepModel
from core.errors import InputError
from core.models.sampler import cosine_schedule

FRAME, COND = np.zeros((1, 265), np.float32), np.ones((1, 80, 1103), np.float32)


class Fake:
    """A one-step network that remembers its inputs; the clean sample is a third of x plus the mean condition."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, cond_frame, cond, time_cond):
        self.calls.append((x.copy(), cond_frame, cond, time_cond))
        start = x / 3 + cond.mean()
        return {"pred_noise": cosine_schedule().noise(x, start, int(time_cond[0])), "x_start": start}


@pytest.mark.parametrize("method", ["ddim", "dpm"])
def test_windows(method):
    fake = Fake()
    out = MotionDiffusion(OneStepModel(fake)).sampler(seed=3, steps=5, method=method)(FRAME, COND, 0)
    assert out.shape == (1, 80, 265) and out.dtype == np.float32 and np.isfinite(out).all()
    assert len(fake.calls) == 5
    for x, cond_frame, cond, time in fake.calls:
        assert x.shape == (1, 80, 265) and x.dtype == cond_frame.dtype == cond.dtype == np.float32
        assert time.shape == (1,) and time.dtype == np.int64
    assert [int(call[3][0]) for call in fake.calls][0] == 999


@pytest.mark.parametrize("method", ["ddim", "dpm"])
def test_same_seed_same_motion_whatever_else_draws_numbers(method):
    model = MotionDiffusion(OneStepModel(Fake()))

    def run(seed, count=2):
        sample = model.sampler(seed, 4, method)
        np.random.standard_normal(5)
        return [sample(FRAME, COND, 70 * i) for i in range(count)]

    first, again, other = run(7), run(7), run(8)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], first[1])


def test_runs_side_by_side_do_not_disturb_each_other():
    model = MotionDiffusion(OneStepModel(Fake()))
    alone = model.sampler(1, 3)(FRAME, COND, 0)
    one, two = model.sampler(1, 3), model.sampler(2, 3)
    two(FRAME, COND, 0)
    np.testing.assert_array_equal(one(FRAME, COND, 0), alone)


def test_step_noise_is_shared_by_all_windows_and_the_start_is_not():
    fake = Fake()

    def noise_only(**inputs):
        fake(**inputs)
        return {"x_start": np.zeros_like(inputs["x"]), "pred_noise": np.zeros_like(inputs["x"])}

    sample = MotionDiffusion(OneStepModel(noise_only)).sampler(0, 3)
    for start in (0, 70):
        sample(FRAME, COND, start)
    seen = [call[0] for call in fake.calls]
    assert not np.array_equal(seen[0], seen[3])
    np.testing.assert_array_equal(seen[1], seen[4])
    np.testing.assert_array_equal(seen[2], seen[5])
    assert not np.array_equal(seen[1], seen[2])


def test_torch_and_numpy_models_give_the_same_motion():
    torch = pytest.importorskip("torch")
    from core.models.lmdm import Lmdm, LmdmSizes
    from core.packs.lmdm_runner import LmdmRunner

    torch.manual_seed(0)
    sizes = LmdmSizes(frames=6, cond=9, width=16, heads=2, feedforward=24, encoder_layers=1, decoder_layers=2)
    network = Lmdm(sizes)
    runner = LmdmRunner(network)

    def one_step(**inputs):
        with torch.inference_mode():
            out = network(**{name: torch.from_numpy(a) for name, a in inputs.items()})
        return dict(zip(("pred_noise", "x_start"), (a.numpy() for a in out), strict=True))

    rng = np.random.default_rng(0)
    cond, frame = rng.standard_normal((1, 6, 9)).astype(np.float32), rng.standard_normal((1, 265)).astype(np.float32)
    for method in ("ddim", "dpm"):
        models = (runner, OneStepModel(one_step))
        found = [MotionDiffusion(model, 6).sampler(5, 8, method)(frame, cond, 0) for model in models]
        assert found[0].dtype == np.float32
        np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_bad_options():
    with pytest.raises(InputError, match="option 'sampler' is 'euler'; it must be ddim or dpm"):
        MotionDiffusion(OneStepModel(Fake())).sampler(0, 5, "euler")
    with pytest.raises(InputError, match="sampling_timesteps is 0"):
        MotionDiffusion(OneStepModel(Fake())).sampler(0, 0)
