"""LMDM against the golden vectors of the reference: blocks, passes, guided steps, whole sampling runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from replayer import Replayer

from core.errors import InputError
from core.models.lmdm import Lmdm, LmdmSizes
from core.models.modules.rotary import Rotary, rotate
from core.models.sampler import Solver, cosine_schedule, ddim_plan, dpm_plan, make_solver
from core.packs.lmdm_runner import LmdmRunner
from core.settings.speed import Speed

NET, LIMIT, RUN_LIMIT, TAP_LIMIT = "lmdm", 5e-5, 1e-4, 1e-4
TINY = LmdmSizes(frames=5, motion=7, cond=9, width=16, heads=2, feedforward=24, encoder_layers=1, decoder_layers=2)


@pytest.fixture(scope="module")
def network(load_golden):
    return load_golden(Lmdm(), NET)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return Lmdm(TINY).eval().requires_grad_(False)


def tiny_inputs(clips):
    """x, cond_frame, cond of `clips` clips."""
    return torch.randn(clips, 5, 7), torch.randn(clips, 7), torch.randn(clips, 5, 9)


def test_names_in_the_order_of_the_file(golden_weights):
    with torch.device("meta"):
        names = list(Lmdm().state_dict())
    assert names == list(golden_weights.load_manifest(NET)["state_dict"])


def test_rotary(golden, golden_weights, golden_error):
    rotary = Rotary(512)
    x = torch.from_numpy(golden_weights.unit_noise("input/lmdm/rotary", (1, 82, 512)))
    cos, _ = rotary.table(82)
    rows = golden("lmdm.npz")["rotary/rows"]
    angles = torch.from_numpy(rows)[:, None] * rotary.freqs
    assert golden_error(NET, "rotary/freqs", rotary.freqs) < 1e-6
    assert golden_error(NET, "rotary/angles_rows", angles.repeat_interleave(2, dim=1)) < 1e-6
    assert torch.allclose(cos[rows[rows < 82]], angles[rows < 82].cos())
    assert golden_error(NET, "rotary/out", rotate(x, rotary.table(82))) < 1e-5
    assert torch.allclose(rotate(x, rotary.table(82))[:, 80:], rotate(x[:, 80:], rotary.table(2, first=80)))


def test_time_embedding(network, golden, golden_error):
    times = torch.from_numpy(golden("lmdm.npz")["time/t"])
    assert golden_error(NET, "time/sinusoid", network.time_mlp[0](times)) < LIMIT
    assert golden_error(NET, "time/hidden", network.time_mlp(times)) < LIMIT


def watch(network):
    """Outputs of inner layers by tap name, each a list with one entry per call."""
    seen = {}
    first = network.seqTransDecoder.stack[0]
    layers = {
        "memory": network.norm_cond,
        "dec0.film1": first.film1,
        "dec0.self_attn": first.self_attn,
        "dec0.cross_attn": first.multihead_attn.out_proj,
        "dec0.ff": first.linear2,
        "cond_enc0.self_attn": network.cond_encoder[0].self_attn,
    }
    layers |= {f"cond_enc{i}": layer for i, layer in enumerate(network.cond_encoder)}
    layers |= {f"dec{i}": layer for i, layer in enumerate(network.seqTransDecoder.stack)}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: seen.setdefault(name, []).append(out))
        for name, layer in layers.items()
    ]
    return seen, hooks


def test_taps_and_passes_of_two_clips(network, golden_inputs, golden_error):
    inputs = golden_inputs(NET, "small")
    seen, hooks = watch(network)
    context = network.prepare(inputs["cond_frame"], inputs["cond"])
    out = network.passes(inputs["x"], context, network.steps(context, torch.tensor([639])).at(0)).chunk(2)
    for hook in hooks:
        hook.remove()
    tokens, time_tokens = seen.pop("memory")
    scale, shift = seen.pop("dec0.film1")[0][0][:, None].chunk(2, dim=-1)
    taps = {name: values[0] for name, values in seen.items()} | {"dec0.film1.scale": scale, "dec0.film1.shift": shift}
    taps["memory"] = torch.cat((tokens, time_tokens[0].expand(4, -1, -1)), dim=1)
    errors = {}
    for i, name in enumerate(("uncond", "cond")):
        assert golden_error(NET, f"small/{name}_x_start", out[i]) < LIMIT
        for tap in taps.keys() - {"dec2", "dec4", "dec6"}:
            mine = taps[tap] if len(taps[tap]) == 2 else taps[tap].chunk(2)[i]  # the two passes share the first layers
            errors[name, tap] = golden_error(NET, f"small/tap/{name}/{tap}", mine)
    assert max(errors.values()) < TAP_LIMIT, errors


@pytest.mark.parametrize("case, time", [("full", t) for t in (999, 979, 500, 19, 0)] + [("small", 639)])
def test_guided_step(network, golden_inputs, golden_error, case, time):
    inputs = golden_inputs(NET, case)
    noise, start = network(**inputs, time_cond=torch.full((len(inputs["x"]),), time))
    assert golden_error(NET, f"{case}/t{time}/x_start", start) < LIMIT
    assert golden_error(NET, f"{case}/t{time}/pred_noise", noise) < LIMIT


@pytest.mark.parametrize("steps", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_ddim_runs(network, golden, golden_weights, golden_error, monkeypatch, steps):
    inputs, runner, solver = golden_weights.make_inputs(NET), LmdmRunner(network), make_solver("ddim", steps)
    x, *noise = (runner.array(golden_weights.ddim_noise(f"ddim{steps}", i)) for i in range(steps))
    seen, denoise = [], network.denoise
    monkeypatch.setattr(network, "denoise", lambda x, *rest: (seen.append(x.clone()), denoise(x, *rest))[1])
    found = runner.sample(inputs["cond_frame"], inputs["cond"], x, torch.stack(noise), solver)
    result = torch.from_numpy(found)
    kept = [i for i in range(steps) if f"ddim{steps}/x_before_step{i}/step" in golden("lmdm.npz")]
    assert len(kept) >= 3
    for i in kept:
        assert golden_error(NET, f"ddim{steps}/x_before_step{i}", seen[i]) < RUN_LIMIT
    assert golden_error(NET, f"ddim{steps}/result", result) < RUN_LIMIT


@pytest.fixture(scope="module")
def solve(load_golden, golden_weights):
    """solve(plan, method, seed) -> (1, 80, 265) from the golden weights, smooth in time as a trained network is.

    The stand-in weights follow every frequency of the time embedding, up to one radian per unit of time, so that the
    predictions at two neighbouring times have little to do with each other; only the slow frequencies are kept.
    """
    network = load_golden(Lmdm(), NET)
    frequencies = torch.exp(-torch.arange(256) * math.log(10000) / 255)
    network.time_mlp[1].weight[:, (frequencies > 0.01).repeat(2)] = 0
    inputs, runner = golden_weights.make_inputs(NET), LmdmRunner(network)

    def run(plan, method, seed):
        solver = Solver(method, len(plan.times) - 1, cosine_schedule(), plan)
        noise = np.random.default_rng(seed).standard_normal((len(plan.times), 1, 80, 265), np.float32)
        more = runner.array(noise[1 : 1 + solver.noises])
        return LmdmRunner(network).sample(inputs["cond_frame"], inputs["cond"], runner.array(noise[0]), more, solver)

    return run


def distance(a, b):
    """Root mean square difference in standard deviations."""
    return float(np.sqrt(np.mean((a - b) ** 2)) / b.std())


@pytest.mark.slow
def test_dpm_solver_converges_to_many_steps_of_ddim(solve):
    exact = solve(ddim_plan(cosine_schedule(), 100, eta=0), "ddim", 0)
    errors = [distance(solve(dpm_plan(cosine_schedule(), n, last=9), "dpm", 0), exact) for n in (6, 24)]
    assert errors[1] < 0.004 and errors[1] < errors[0] / 3, errors


@pytest.mark.slow
def test_few_steps_of_dpm_solver_are_closer_than_another_seed(solve):
    seeds = distance(*(solve(ddim_plan(cosine_schedule(), 50), "ddim", seed) for seed in (1, 2)))
    fifty = solve(ddim_plan(cosine_schedule(), 50, eta=0), "ddim", 3)
    errors = [distance(solve(dpm_plan(cosine_schedule(), n), "dpm", 3), fifty) for n in (10, 15)]
    assert max(errors) < seeds, (errors, seeds)


def test_clips_of_a_batch_do_not_mix(tiny):
    x, frame, cond = tiny_inputs(3)
    times = torch.tensor([900, 500, 10])
    together = tiny(x, frame, cond, times)
    for i in range(3):
        alone = tiny(x[i : i + 1], frame[i : i + 1], cond[i : i + 1], times[i : i + 1])
        for a, b in zip(together, alone, strict=True):
            assert torch.allclose(a[i], b[0], rtol=1e-4, atol=1e-4)


def test_all_steps_at_once_equal_each_alone(tiny):
    x, frame, cond = tiny_inputs(2)
    context = tiny.prepare(frame, cond)
    times = torch.tensor([999, 400, 3])
    steps = tiny.steps(context, times)
    for i, time in enumerate(times):
        expected = tiny(x, frame, cond, time.repeat(2))[1]
        assert torch.allclose(tiny.denoise(x, context, steps.at(i)), expected, atol=1e-5)


def test_guidance_doubles_what_the_condition_adds(tiny):
    x, frame, cond = tiny_inputs(1)
    context = tiny.prepare(frame, cond)
    step = tiny.steps(context, torch.tensor([300])).at(0)
    without, conditioned = tiny.passes(x, context, step)
    assert not torch.allclose(without, conditioned, atol=1e-3)
    assert torch.allclose(tiny.denoise(x, context, step)[0], 2 * conditioned - without, atol=1e-5)
    other = tiny.prepare(frame, cond + 1)
    assert torch.allclose(tiny.passes(x, other, tiny.steps(other, torch.tensor([300])).at(0))[0], without, atol=1e-6)


def test_a_condition_frame_for_every_frame():
    torch.manual_seed(0)
    network = Lmdm(LmdmSizes(**{**vars(TINY), "multi_cond_frame": True})).eval()
    assert network.input_projection.weight.shape == (16, 7 + 8)
    x, _, cond = tiny_inputs(2)
    assert network(x, torch.randn(2, 5, 8), cond, torch.tensor([5, 5]))[1].shape == (2, 5, 7)


def test_wrong_sizes():
    with pytest.raises(ValueError, match="width 18 .* 4 heads"):
        LmdmSizes(width=18, heads=4)
    with pytest.raises(ValueError, match=r"\(B, 5, 9\), got \(1, 5, 8\)"):
        Lmdm(TINY).prepare(torch.zeros(1, 7), torch.zeros(1, 5, 8))


@pytest.mark.parametrize("method", ["ddim", "dpm"])
def test_recorded_clips_equal_plain_ones(tiny, method):
    recorder = Replayer()
    plain, recorded = LmdmRunner(tiny), LmdmRunner(tiny, recorder=recorder)
    solver = make_solver(method, 4)
    recorded.warm_up(solver)
    recorded.warm_up(make_solver(method, 4))
    assert recorder.recorded == 1
    rng = np.random.default_rng(0)
    noise = plain.array(rng.standard_normal((solver.noises, 1, 5, 7)))
    for _ in range(3):
        frame, cond = rng.standard_normal((1, 7)), rng.standard_normal((1, 5, 9))
        x = plain.array(rng.standard_normal((1, 5, 7)))
        found = [runner.sample(frame, cond, x, noise, solver) for runner in (plain, recorded)]
        assert found[0].shape == (1, 5, 7) and found[0].dtype == np.float32
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert recorder.recorded == 1


def test_lack_of_memory_is_said_in_one_line(tiny, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiny, "prepare", full)
    runner, solver = LmdmRunner(tiny), make_solver("dpm", 2)
    x, noise = runner.array(np.zeros((1, 5, 7))), runner.array(np.zeros((0, 1, 5, 7)))
    with pytest.raises(InputError, match="not enough GPU memory for the motion model"):
        runner.sample(np.zeros((1, 7)), np.zeros((1, 5, 9)), x, noise, solver)


def test_compiled_layers_give_the_same_clip(tiny, monkeypatch):
    from core.backends.compiled import CompiledCall
    from core.packs import lmdm_runner

    plain, solver = LmdmRunner(tiny), make_solver("dpm", 2)
    x, noise = plain.array(np.ones((1, 5, 7))), plain.array(np.zeros((0, 1, 5, 7)))
    clip = (np.ones((1, 7)), np.ones((1, 5, 9)), x, noise, solver)
    expected = plain.sample(*clip)
    monkeypatch.setattr(lmdm_runner, "compiled", lambda f, name, wanted: CompiledCall(f, name, "eager"))
    found = LmdmRunner(tiny, Speed(compile=True)).sample(*clip)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert tiny.seqTransDecoder.forward._compiled is not None
