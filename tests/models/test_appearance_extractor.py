"""Appearance extractor against the golden vectors of the reference."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from core.backends.checkpoint import load_network
from core.models.appearance_extractor import AppearanceExtractor, AppearanceSizes
from core.models.manifest import load_manifest

NET, LIMIT, TAP_LIMIT = "appearance_extractor", 5e-5, 1e-4
TINY = AppearanceSizes(widths=(4, 6, 8), channels=3, depth=2, res_blocks=2)


def test_inner_values_small(load_golden, golden_inputs, golden_error):
    network = load_golden(AppearanceExtractor(), NET)
    parts = {"first": network.first, "down0": network.down_blocks[0], "down1": network.down_blocks[1]}
    parts |= {"second": network.second, **{f"res{i}": block for i, block in enumerate(network.resblocks_3d)}}
    taps = {}
    for name, part in parts.items():
        part.register_forward_hook(lambda _m, _i, out, name=name: taps.__setitem__(name, out.clone()))
    with torch.inference_mode():
        out = network(**golden_inputs(NET, "small"))
    assert golden_error(NET, "small/out/pred", out) < LIMIT
    errors = {name: golden_error(NET, f"small/tap/{name}", value) for name, value in taps.items()}
    assert len(errors) == 10 and max(errors.values()) < TAP_LIMIT, errors


@pytest.fixture(scope="module")
def folded(golden_weights, tmp_path_factory):
    """Loaded from a file as it is published."""
    path = tmp_path_factory.mktemp(NET) / f"{NET}.pth"
    torch.save({name: torch.from_numpy(array) for name, array in golden_weights.checkpoint(NET).items()}, path)
    return load_network(path, AppearanceExtractor(), NET)


@pytest.mark.parametrize("case", ["small", "full"])
def test_folded(folded, golden_inputs, golden_error, case):
    with torch.inference_mode():
        out = folded(**golden_inputs(NET, case))
    assert out.is_contiguous() and golden_error(NET, f"{case}/out/pred", out) < LIMIT


def test_state_dict_has_the_published_names():
    manifest = load_manifest(NET).tensors
    with torch.device("meta"):
        state = AppearanceExtractor().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == manifest


def test_half_precision_stays_close():
    network, image = AppearanceExtractor(TINY).eval(), torch.rand(1, 3, 8, 8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        half = network(image)
    assert half.shape == (1, 3, 2, 2, 2)
    torch.testing.assert_close(half.float(), network(image), atol=0.05, rtol=0.05)


def test_gradients_flow():
    network = AppearanceExtractor(TINY)
    network(torch.rand(2, 3, 8, 8)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"divisible by 4, got \(1, 3, 10, 8\)"):
        AppearanceExtractor(TINY)(torch.zeros(1, 3, 10, 8))
