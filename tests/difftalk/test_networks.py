"""Full-size networks, condition encoders and tables against recorded numbers of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import UNet2DConditionModel

from core.errors import InputError
from DiffTalk import schedule
from DiffTalk.conditions import ConditionEncoders
from DiffTalk.config import ModelConfig
from DiffTalk.keymap import FIRST_STAGE, UNET, first_stage_name, is_pointwise, unet_name
from DiffTalk.networks import build_first_stage, build_unet, decode, denoise, encode, zero_outputs


def fill(network: Any, rename: Any, prefix: str, net: str, stand_ins: Any) -> None:
    """Give the stand-in weights to a network that has none yet (built on the meta device)."""
    manifest = stand_ins.load_manifest(net)["state_dict"]
    state = {}
    for name in network.state_dict():
        original = rename(name)
        value = torch.from_numpy(stand_ins.make(net, prefix + original, tuple(manifest[prefix + original][0])))
        state[name] = value[:, :, 0, 0] if is_pointwise(original) else value
    network.load_state_dict(state, strict=True, assign=True)
    network.requires_grad_(False).eval()


def within(value: Any, expected: Any, tolerance: float) -> None:
    assert np.abs(np.asarray(value, np.float64) - expected).max() <= tolerance * np.sqrt(np.mean(expected**2))


def test_condition_encoders(golden: Any, stand_ins: Any) -> None:
    recorded = golden("difftalk_conditioning.npz")
    encoders = ConditionEncoders()
    fill(encoders, lambda name: name, "", "difftalk", stand_ins)
    audio, points = torch.from_numpy(recorded["audio_smooth"]), torch.from_numpy(recorded["landmarks"])
    codes = encoders.cond_stage_model_for_audio(audio)
    within(codes, recorded["audio_windows"], 1e-4)
    within(encoders.cond_stage_model_for_audio_smooth.weights(codes), recorded["audio_attention"], 1e-4)
    within(encoders(audio, points), recorded["context"], 1e-4)


def test_full_first_stage(golden: Any, stand_ins: Any) -> None:
    recorded = golden("difftalk_vq.npz")
    with torch.device("meta"):
        first_stage = build_first_stage(ModelConfig())
    fill(first_stage, first_stage_name, FIRST_STAGE, "difftalk", stand_ins)
    assert sum(value.numel() for value in first_stage.parameters()) == 55_322_782
    with torch.no_grad():
        within(encode(first_stage, torch.from_numpy(recorded["image"])), recorded["latent"], 1e-4)
        latent = torch.from_numpy(recorded["latent"])
        quantized, _loss, (_p, _e, indices) = first_stage.quantize(latent)
        assert np.array_equal(indices.reshape(recorded["indices"].shape), recorded["indices"])
        within(quantized, recorded["quantized"], 1e-5)
        within(decode(first_stage, latent), recorded["decoded"], 1e-4)
        within(decode(first_stage, latent, quantize=False), recorded["decoded_unquantized"], 1e-4)


@pytest.mark.slow
def test_full_unet(golden: Any, stand_ins: Any) -> None:
    """530 million parameters, 2.2 GB: half a minute."""
    recorded = {name: torch.from_numpy(value) for name, value in golden("difftalk_unet.npz").items()
                if value.dtype.kind in "fi"}  # fmt: skip
    with torch.device("meta"):
        unet = build_unet(ModelConfig())
    fill(unet, unet_name, UNET, "difftalk", stand_ins)
    assert sum(value.numel() for value in unet.parameters()) == 530_152_963
    context = torch.cat([recorded["n32/audio"], recorded["n32/landmark"]], dim=1)[:, None]
    latents = (recorded["n32/x"], recorded["n32/masked"], recorded["n32/reference"])
    with torch.no_grad():
        eps = denoise(unet, *latents, recorded["n32/t"], context)
    within(eps, recorded["n32/eps"].numpy(), 1e-4)


@pytest.mark.parametrize("manifest", ["difftalk_manifest.json", "difftalk_tiny_manifest.json"])
def test_key_map_covers_the_manifest(golden: Any, manifest: str) -> None:
    content = golden(manifest)
    params = content["config"]
    unet = params["unet_config"]["params"]
    first = params["first_stage_config"]["params"]
    config = ModelConfig(
        image_size=4 * params["image_size"],
        unet_width=unet["model_channels"],
        first_stage_width=first["ddconfig"]["ch"],
        codes=first["n_embed"],
    )
    with torch.device("meta"):
        parts = ((build_unet(config), unet_name, UNET), (build_first_stage(config), first_stage_name, FIRST_STAGE))
    for network, rename, prefix in parts:
        ours = {}
        for name, value in network.state_dict().items():
            original = rename(name)
            ours[prefix + original] = [*value.shape, 1, 1] if is_pointwise(original) else list(value.shape)
        theirs = {name: shape for name, (shape, _dtype) in content["state_dict"].items() if name.startswith(prefix)}
        assert ours == theirs


def test_key_map_is_the_recorded_one(golden: Any) -> None:
    recorded = golden("difftalk_diffusers_keys.json")
    assert {unet_name(name): name for name in recorded["unet"].values()} == recorded["unet"]
    assert {first_stage_name(name): name for name in recorded["vqmodel"].values()} == recorded["vqmodel"]
    with pytest.raises(KeyError):
        unet_name("somewhere.else.weight")


def test_tables(golden: Any) -> None:
    recorded = golden("difftalk_schedule.npz")
    for name, table in schedule.buffers().items():
        np.testing.assert_allclose(table, recorded[f"buffer/{name}"], rtol=1e-6, atol=0)
    np.testing.assert_allclose(schedule.vlb_weights(), recorded["buffer/lvlb_weights"], rtol=1e-6)
    for steps in (10, 50, 200):
        assert np.array_equal(schedule.ddim_timesteps(steps), recorded[f"ddim{steps}/timesteps"])


@pytest.mark.parametrize("steps", [0, -3, 300, 501, 1000, 1001])
def test_step_counts_that_do_not_work(steps: int) -> None:
    with pytest.raises(InputError, match="sampling steps"):
        schedule.ddim_timesteps(steps)


def test_step_count_that_does_not_divide() -> None:
    assert len(schedule.ddim_timesteps(64)) == 67


def test_fresh_network_answers_zero_and_keeps_diffusers_numbers(tiny_config: Any) -> None:
    torch.manual_seed(0)
    unet = build_unet(tiny_config)
    latent, t, context = torch.randn(1, 3, 16, 16), torch.tensor([7]), torch.randn(1, 1, 128)
    plain = UNet2DConditionModel.from_config(unet.config)
    plain.load_state_dict(unet.state_dict())
    with torch.no_grad():
        ours = denoise(unet, latent, latent, latent, t, context)
        theirs = plain(torch.cat([latent] * 3, 1), t, context).sample
        assert ours.abs().max() > 0.01
        within(ours, theirs.numpy(), 1e-5)
        zero_outputs(unet)
        assert not denoise(unet, latent, latent, latent, t, context).any()
