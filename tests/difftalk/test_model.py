"""Loss, gradients, one optimiser step and sampling against recorded numbers of the reference (tiny stand-in model)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from DiffTalk import sampler
from DiffTalk.checkpoint import load_ema, load_model, open_checkpoint, original_state
from DiffTalk.ema import Ema
from DiffTalk.networks import decode, denoise
from DiffTalk.training_step import optimiser_step


@pytest.fixture(scope="module")
def recorded(golden: Any) -> dict[str, Any]:
    return {name: torch.from_numpy(np.asarray(value)) if value.dtype.kind in "fiu" else value
            for name, value in golden("difftalk_tiny.npz").items()}  # fmt: skip


@pytest.fixture
def batch(recorded: dict[str, Any]) -> dict[str, Any]:
    def picture(name: str) -> Any:
        return recorded[f"in/{name}_u8"].float() / 127.5 - 1

    return {
        "image": picture("image"),
        "image_mask": picture("image_mask"),
        "reference_img": picture("reference"),
        "audio_smooth": recorded["in/audio_smooth"],
        "landmarks": recorded["in/landmarks"],
    }


def close(value: Any, expected: Any, tolerance: float) -> None:
    """Largest difference at most `tolerance` times the RMS of what is expected."""
    value, expected = torch.as_tensor(value).double(), torch.as_tensor(expected).double()
    assert value.shape == expected.shape
    scale = expected.square().mean().sqrt()
    assert (value - expected).abs().max() <= tolerance * scale


def test_conditions_and_loss(tiny_model: Any, batch: dict, recorded: dict) -> None:
    given = tiny_model.encode(batch)
    close(given.latent, recorded["train/latent"], 1e-4)
    close(given.masked, recorded["train/masked_latent"], 1e-4)
    close(given.reference, recorded["train/reference_latent"], 1e-4)
    close(given.context[:, 0, :64], recorded["train/audio"], 1e-4)
    close(given.context[:, 0, 64:], recorded["train/landmark"], 1e-4)
    t, noise = recorded["in/t"], recorded["in/noise"]
    close(tiny_model.add_noise(given.latent, t, noise), recorded["train/x_noisy"], 1e-5)
    losses = tiny_model(batch, t, noise)
    close(losses, recorded["train/loss_per_sample"], 1e-4)
    close(losses.mean(), recorded["train/loss"], 1e-4)
    close((losses * tiny_model.vlb[t]).mean(), recorded["train/loss_vlb"], 1e-4)


def test_gradients(tiny_model: Any, batch: dict, recorded: dict) -> None:
    tiny_model(batch, recorded["in/t"], recorded["in/noise"]).mean().backward()
    ours = _by_original_name(tiny_model, lambda value: value.grad)
    for name, norm in zip(recorded["train/grad_names"], recorded["train/grad_norms"], strict=True):
        grad = ours[str(name)]
        found = 0.0 if grad is None else float(grad.norm())
        assert found == pytest.approx(float(norm), rel=1e-3, abs=1e-6), name
    close(ours["model.diffusion_model.out.2.weight"], recorded["train/grad/model.diffusion_model.out.2.weight"], 1e-3)


def test_one_step_and_average(tiny_model: Any, tiny_checkpoint: Any, batch: dict, recorded: dict) -> None:
    ema = Ema(tiny_model.unet)
    load_ema(open_checkpoint(tiny_checkpoint), tiny_model, ema)
    parameters = [value for _name, value in tiny_model.trained()]
    optimiser = torch.optim.AdamW(parameters, lr=6.4e-5, weight_decay=0.01)
    tiny_model(batch, recorded["in/t"], recorded["in/noise"]).mean().backward()
    total = optimiser_step(optimiser, parameters, clip_norm=0.1)
    assert float(total) == pytest.approx(float(recorded["train/grad_norm_total"]), rel=1e-3)
    ema.update()
    assert ema.updates == int(recorded["step/num_updates"])
    state = original_state(tiny_model, ema)
    for key, expected in recorded.items():
        if key.startswith("step/param/"):
            _close_step(state[key.removeprefix("step/param/")], expected)
        elif key.startswith("step/ema/"):
            name = key.removeprefix("step/ema/model.").replace(".", "")
            _close_step(state["model_ema." + name], expected)


def _close_step(value: Any, expected: Any) -> None:
    difference = (value - expected).abs()
    assert float((difference <= 2e-6).float().mean()) >= 0.99
    assert difference.max() <= 1.3e-4


def _by_original_name(model: Any, of: Any) -> dict[str, Any]:
    from DiffTalk.keymap import UNET, unet_name

    found = {UNET + unet_name(name): of(value) for name, value in model.unet.named_parameters()}
    found.update({name: of(value) for name, value in model.encoders.named_parameters()})
    return found


@pytest.mark.parametrize("eta", [0, 1])
@pytest.mark.parametrize("index", [0, 1, 120, 199])
def test_single_ddim_step(recorded: dict, eta: int, index: int) -> None:
    scheduler = sampler.build_scheduler()
    scheduler.set_timesteps(200)
    eps = recorded[f"ddim_step/eta0/index{index}/eps"]
    noise = recorded["ddim_step/noise"] if eta else None
    done = scheduler.step(eps, 5 * index + 1, recorded["ddim_step/x"], eta=eta, variance_noise=noise)
    close(done.prev_sample, recorded[f"ddim_step/eta{eta}/index{index}/x_prev"], 1e-5)


RUNS = ["a_eta0_mask", "b_eta1_mask", "c_eta0_nomask", "d_eta0_mask_live"]


@pytest.mark.parametrize("run", RUNS)
def test_sampling(
    tiny_model: Any, tiny_checkpoint: Any, batch: dict, recorded: dict, golden: Any, stand_ins: Any, run: str
) -> None:
    if not run.endswith("live"):
        load_model(open_checkpoint(tiny_checkpoint), tiny_model, ema=True)
    settings = golden("difftalk_tiny.json")[f"sample/{run}"]
    given = tiny_model.encode(batch)
    numbers = iter(range(10**6))

    def noise() -> Any:
        return torch.from_numpy(stand_ins.unit_noise(f"input/difftalk_tiny/ddim/{run}/{next(numbers)}", (2, 3, 16, 16)))

    def denoiser(x: Any, t: Any) -> Any:
        return denoise(tiny_model.unet, x, given.masked, given.reference, t, given.context)

    keep = None if "nomask" in run else recorded["sample/mask"][:, None].float()
    steps = list(sampler.trajectory(denoiser, noise, settings["steps"], settings["eta"], keep, given.latent, None))
    close(steps[0][1], recorded[f"sample/{run}/pred_x0_first"], 1e-3)
    close(steps[-1][1], recorded[f"sample/{run}/pred_x0_last"], 1e-3)
    close(steps[-1][0], recorded[f"sample/{run}/latent"], 1e-3)


def test_decoding_to_bytes(tiny_model: Any, batch: dict, recorded: dict) -> None:
    from DiffTalk.pictures import to_bytes

    pictures = decode(tiny_model.first_stage, recorded["sample/a_eta0_mask/latent"])
    close(pictures, recorded["sample/a_eta0_mask/decoded"], 1e-3)
    bytes_ = to_bytes(pictures).astype(int)
    assert np.abs(bytes_ - recorded["sample/a_eta0_mask/image_u8"].numpy().astype(int)).max() <= 1
    again = decode(tiny_model.first_stage, tiny_model.latents(batch)[0])
    close(again, recorded["sample/reconstruction"], 1e-3)
