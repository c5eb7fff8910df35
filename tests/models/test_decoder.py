"""SPADE decoder against the golden vectors of the reference."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from core.models.decoder import Decoder, DecoderSizes
from core.models.manifest import load_manifest
from core.models.modules.fold import fold_constants

LIMIT, TAP_LIMIT = 3e-5, 1e-4
TINY = DecoderSizes(feature=6, middle=16, up=(12, 8))


@pytest.fixture(scope="module")
def folded(load_golden):
    return fold_constants(load_golden(Decoder(), "decoder"))


def watch(network) -> dict:
    """Fills the returned dict with the inner values of the next call, by golden name."""
    names = ["fc", *(f"G_middle_{i}" for i in range(6)), "up_0", "up_1", "conv_img.0", "conv_img"]
    names += [f"G_middle_0.{part}" for part in ("norm_0", "conv_0", "norm_1", "conv_1")]
    parts = {name: network.get_submodule(name) for name in [*names, "up_0.norm_s", "up_0.conv_s"]}
    parts["G_middle_0.norm_0.shared"] = network.G_middle_0.norm_0.mlp_shared
    taps: dict = {}
    for name, part in parts.items():
        part.register_forward_hook(lambda _m, _i, out, name=name: taps.__setitem__(name, out.clone()))
    return taps


def test_inner_values_small(load_golden, golden_error, golden_inputs):
    network = load_golden(Decoder(), "decoder")
    taps = watch(network)
    with torch.inference_mode():
        out = network(**golden_inputs("decoder", "small"))
    assert golden_error("decoder", "small/out/output", out) < LIMIT
    errors = {name: golden_error("decoder", f"small/tap/{name}", value) for name, value in taps.items()}
    assert len(errors) == 18 and max(errors.values()) < TAP_LIMIT, errors


def test_folded_small(folded, golden_error, golden_inputs):
    with torch.inference_mode():
        out = folded(**golden_inputs("decoder", "small"))
    assert golden_error("decoder", "small/out/output", out) < LIMIT


@pytest.mark.slow
def test_folded_full_size(folded, golden_error, golden_inputs):
    with torch.inference_mode():
        out = folded(**golden_inputs("decoder", "full"))
    assert out.min() >= 0 and out.max() <= 1
    assert golden_error("decoder", "full/out/output", out) < LIMIT


def test_sigma(load_golden, golden):
    network, stored = load_golden(Decoder(), "decoder"), golden("decoder.npz")
    found = [network.get_submodule(str(name)).sigma().item() for name in stored["sigma/layers"]]
    assert found == pytest.approx(stored["sigma/values"].tolist(), rel=1e-5)


def tiny():
    torch.manual_seed(0)
    return Decoder(TINY).eval().requires_grad_(False)


def test_batch_is_one_picture_each():
    network, feature = tiny(), torch.randn(2, 6, 4, 4)
    together = network(feature)
    assert together.shape == (2, 3, 32, 32)
    torch.testing.assert_close(together[1:], network(feature[1:]))


def test_folding_changes_nothing_twice():
    network, feature = tiny(), torch.randn(1, 6, 4, 4)
    before = network(feature)
    once = fold_constants(network)(feature)
    torch.testing.assert_close(before, once)
    assert torch.equal(once, fold_constants(network)(feature))


def test_half_precision_stays_close():
    network, feature = tiny(), torch.randn(1, 6, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(feature)
    assert half.dtype == torch.float32 and (half - network(feature)).abs().mean() < 0.01


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"feature must be \(B, 6, h, w\), got \(1, 5, 4, 4\)"):
        tiny()(torch.zeros(1, 5, 4, 4))


def test_state_dict_has_the_published_names():
    manifest = load_manifest("decoder").tensors
    with torch.device("meta"):
        state = Decoder().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == manifest
