"""Schedule, losses, Adan and a small training run against the goldens of the reference (spec 8, 9, 10.1)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core.errors import InputError
from core.models.lmdm import Lmdm, LmdmSizes
from core.models.sampler import cosine_betas, cosine_schedule
from MotionDiT.adan import Adan
from MotionDiT.diffusion import Diffusion, draw
from MotionDiT.losses import FARTHEST, MEMORY, AdaptiveWeights, MotionLoss, default_parts, parse_parts
from MotionDiT.network import Denoiser

SMALL = LmdmSizes(frames=6, motion=8, cond=10, width=16, heads=2, feedforward=32, encoder_layers=2, decoder_layers=2)
LOSSES = "default last_frame reg last_frame_reg dim_ws dim_ws_last_frame_reg part_w all".split()


@pytest.fixture(scope="module")
def arrays(golden):
    return golden("training_diffusion.npz")


@pytest.fixture(scope="module")
def recorded(golden):
    return golden("training_diffusion.json")


@pytest.fixture
def tensor(arrays):
    return lambda name: torch.from_numpy(arrays[name])


@pytest.fixture
def network(tensor, recorded):
    network = Lmdm(SMALL)
    network.load_state_dict({name: tensor(f"small/init/{name}") for name in recorded["small_model"]["state_dict_keys"]})
    return network.eval()


def test_schedule(arrays):
    np.testing.assert_allclose(cosine_betas(), arrays["schedule/betas_float64"], rtol=1e-12, atol=1e-12)
    diffusion = Diffusion()
    np.testing.assert_allclose(cosine_schedule().alphas, arrays["schedule/alphas_cumprod"], rtol=1e-6)
    np.testing.assert_allclose(diffusion.signal, arrays["schedule/sqrt_alphas_cumprod"], rtol=1e-6)
    np.testing.assert_allclose(diffusion.spread, arrays["schedule/sqrt_one_minus_alphas_cumprod"], rtol=1e-6)


@pytest.mark.parametrize("case", range(3))
def test_noisy_motion(tensor, case):
    found = Diffusion()(tensor("loss/x_start"), tensor("loss/noise"), tensor(f"q_sample/{case}/t"))
    torch.testing.assert_close(found, tensor(f"q_sample/{case}/x_noisy"), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(tensor, arrays, recorded, name):
    case = recorded["loss"][name]
    options = case["options"]
    parts = parse_parts(options["part_w_dict"], 265) if "part_w_dict" in options else default_parts(265)
    dim_ws = arrays["loss/dim_ws"] if "dim_ws" in options else None
    last, regular = options.get("use_last_frame_loss", False), options.get("use_reg_loss", False)
    loss = MotionLoss(parts, 265, dim_ws, last, regular)
    terms = loss(tensor("loss/model_out"), tensor("loss/x_start"), tensor("loss/cond_frame"))
    assert list(loss.names) == case["key_order"]
    for term, value in zip(loss.names, terms.flatten().tolist()):
        assert value == pytest.approx(case["loss_dict"][term], rel=1e-5, abs=1e-9), term
    assert terms.sum().item() == pytest.approx(case["total"], rel=1e-5)


def test_relative_columns_begin_at_zero(tensor):
    found, wanted, frame = tensor("loss/model_out"), tensor("loss/x_start"), tensor("loss/cond_frame")
    loss = MotionLoss(default_parts(265), 265, last_frame=True, relative=(199, 202))
    terms = dict(zip(loss.names, loss(found, wanted, frame).flatten()))
    torch.testing.assert_close(terms["t_L"], found[:, 0, 199:202].square().mean())
    torch.testing.assert_close(terms["exp_L"], (found[:, 0, 202:] - frame[:, 202:]).square().mean())


def test_parts_of_fewer_columns():
    assert [(p.name, p.start, p.end) for p in default_parts(63, 202)] == [("exp", 0, 63)]
    for wrong in ({}, {"a": [0, 3]}, {"a": [3, 3, 1]}, {"a": [0, 300, 1]}, {"a": [0, "3", 1]}):
        with pytest.raises(InputError):
            parse_parts(wrong, 265)
    with pytest.raises(InputError, match=r"\(7,\).* 265"):
        MotionLoss(default_parts(265), 265, np.ones(7))


def test_adaptive_weights_follow_the_convergence():
    adaptive = AdaptiveWeights(3)
    assert adaptive.weights().tolist() == [1, 1, 1]
    adaptive.update(torch.tensor([1.0, 4.0, 0.25]))
    torch.testing.assert_close(adaptive.weights(), torch.tensor([1.0, 0.25, 4.0]))  # inverse, about the geometric mean
    for _ in range(2000):
        adaptive.update(torch.tensor([1.0, 1.0, 0.125]))
    torch.testing.assert_close(adaptive.weights(), torch.tensor([0.5, 0.5, 4.0]))
    adaptive.update(torch.tensor([1.0, 1.0, 0.125 + 1.0]))
    expected = 0.125 * MEMORY + 1.125 * (1 - MEMORY)
    assert adaptive.means[2].item() == pytest.approx(expected, rel=1e-4)
    extreme = AdaptiveWeights(2)
    extreme.update(torch.tensor([1e6, 1e-6]))
    torch.testing.assert_close(extreme.weights(), torch.tensor([1 / FARTHEST, FARTHEST]))


@pytest.mark.parametrize("case", ["trainer_settings", "big_lr", "no_decay"])
@pytest.mark.parametrize("chunk", [1 << 15, 5])
def test_adan(tensor, recorded, monkeypatch, case, chunk):
    monkeypatch.setattr("MotionDiT.adan.CPU_CHUNK", chunk)
    settings = recorded["adan"][case]
    params = {name: torch.nn.Parameter(tensor(f"adan/{case}/{name}/0").clone()) for name in ("p", "p2")}
    idle = torch.nn.Parameter(torch.ones(3))
    optimizer = Adan([*params.values(), idle], settings["lr"], weight_decay=settings["weight_decay"])
    for step in range(1, settings["steps"] + 1):
        params["p"].grad, params["p2"].grad = (tensor(f"adan/{case}/{name}/{step}") for name in ("grad", "grad2"))
        optimizer.step()
        for name, p in params.items():
            torch.testing.assert_close(p.detach(), tensor(f"adan/{case}/{name}/{step}"), rtol=0, atol=1e-6)
        for name in "mvn":
            found, expected = optimizer.state[params["p"]][name], tensor(f"adan/{case}/state_{name}/{step}")
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert idle.tolist() == [1, 1, 1] and optimizer.state[params["p"]]["step"] == settings["step_state_after"]


def test_small_network(network, tensor):
    inputs = [tensor(f"small/in/{name}")[0] for name in ("x", "cond_frame", "cond", "t")]
    for name, keep in (("cond", True), ("uncond", False)):
        found = network.predict(*inputs, torch.full((3,), keep))
        torch.testing.assert_close(found, tensor(f"small/forward/{name}"), rtol=0, atol=1e-5)
    noise, start = network(*inputs)
    torch.testing.assert_close(start, tensor("small/forward/guided_w2"), rtol=0, atol=2e-5)
    torch.testing.assert_close(start, tensor("small/model_predictions/x_start"), rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(noise, tensor("small/model_predictions/pred_noise"), rtol=1e-4, atol=5e-3)


def test_three_training_steps(network, tensor, arrays, recorded):
    case = recorded["small_train"]
    loss = MotionLoss(parse_parts(case["part_w_dict"], 8), 8, last_frame=True, regular=True)
    denoiser, diffusion = Denoiser(network), Diffusion()
    optimizer = Adan(denoiser.parameters(), case["lr"], weight_decay=case["weight_decay"])
    for step, expected in enumerate(case["steps"]):
        x, frame, cond, times = (tensor(f"small/in/{name}")[step] for name in ("x", "cond_frame", "cond", "t"))
        noise, keep = tensor("small/in/noise")[step], tensor("small/in/keep_mask")[step]
        terms = loss(denoiser(diffusion(x, noise, times), frame, cond, times, keep), x, frame)
        assert terms.sum().item() == pytest.approx(expected["total"], rel=1e-4)
        for name, value in zip(loss.names, terms.flatten().tolist()):
            assert value == pytest.approx(expected["loss_dict"][name], rel=1e-4), name
        optimizer.zero_grad()
        terms.sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1e9).item()
        assert norm == pytest.approx(expected["grad_l2_norm"], rel=1e-4)
        if step == 0:
            recorded_grads = [name for name, _ in network.named_parameters() if f"small/grad_step0/{name}" in arrays]
            assert len(recorded_grads) == 4
            for name in recorded_grads:
                found = network.get_parameter(name).grad
                torch.testing.assert_close(found, tensor(f"small/grad_step0/{name}"), rtol=1e-4, atol=1e-5)
        optimizer.step()
    off = []
    for name, p in network.named_parameters():
        found, wanted = p.detach().clone(), tensor(f"small/final/{name}").clone()
        if name.endswith("in_proj_bias"):  # the true gradient of the keys' bias is zero: rounding decides
            found[16:32], wanted[16:32] = 0, 0
        off.append((found - wanted).abs().flatten())
    off = torch.cat(off)
    assert (off < 2e-5).float().mean() >= 0.999 and off.max() < 2e-3


def test_state_dict_is_that_of_the_reference(golden):
    manifest = golden("training_checkpoint_manifest.json")["tensors"]
    with torch.device("meta"):
        state = Lmdm().state_dict()
    assert {name: [list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in state.items()} == {
        name: [entry["shape"], entry["dtype"]] for name, entry in manifest.items()
    }


def test_dropout_only_in_training():
    torch.manual_seed(0)
    network = Lmdm(SMALL, dropout=0.5)
    x, frame, cond = torch.randn(2, 6, 8), torch.randn(2, 8), torch.randn(2, 6, 10)
    inputs = (x, frame, cond, torch.tensor([5, 9]), torch.ones(2).bool())
    network.train()
    assert not torch.equal(network.predict(*inputs), network.predict(*inputs))
    network.eval()
    assert torch.equal(network.predict(*inputs), network.predict(*inputs))


def test_draws_do_not_depend_on_the_number_of_processes():
    whole = draw(3, 11, 8, slice(0, 8), (4, 5), 0.2, "cpu")
    for rank in (0, 1):
        share = slice(4 * rank, 4 * rank + 4)
        part = draw(3, 11, 8, share, (4, 5), 0.2, "cpu")
        assert all(torch.equal(getattr(part, name), getattr(whole, name)[share]) for name in ("times", "noise", "keep"))
    assert not torch.equal(draw(3, 12, 8, slice(0, 8), (4, 5), 0.2, "cpu").noise, whole.noise)
    kept = draw(0, 0, 4000, slice(0, 4000), (1, 1), 0.2, "cpu").keep.float().mean().item()
    assert kept == pytest.approx(0.8, abs=0.03)
