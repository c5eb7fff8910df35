"""WarpingNetwork against the golden vectors of the reference."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core.models.manifest import load_manifest
from core.models.modules.dense_motion import DenseMotionSizes
from core.models.modules.fold import fold_constants
from core.models.warp_network import WarpingNetwork

LIMIT, TAP_LIMIT = 1e-4, 1e-4
TINY = DenseMotionSizes(keypoints=3, channels=4, depth=4, compressed=2, width=4, max_width=16, levels=2)


@pytest.fixture(scope="module")
def folded(load_golden):
    return fold_constants(load_golden(WarpingNetwork(), "warp_network"))


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    network = WarpingNetwork(TINY, out_channels=8).eval().requires_grad_(False)
    points = torch.rand(4, 2, 3, 3) - 0.5
    return network, torch.randn(2, 4, 4, 8, 8), points[0], points[1]


def watch(network) -> dict:
    """Fills the returned dict with the inner values of the next call, by golden name."""
    dense = network.dense_motion_network
    glass = dense.hourglass
    parts = {"compress": dense.compress, "norm": dense.norm, "hourglass": glass, "mask_logits": dense.mask}
    parts |= {"occlusion_logits": dense.occlusion, "third": network.third, "fourth": network.fourth}
    parts |= {f"enc{i}": block for i, block in enumerate(glass.encoder.down_blocks)}
    parts |= {f"dec{i}": block for i, block in enumerate(glass.decoder.up_blocks)}
    taps: dict = {}
    for name, part in parts.items():
        part.register_forward_hook(lambda _m, _i, out, name=name: taps.__setitem__(name, out.clone()))

    def candidates(_module, inputs) -> None:
        motions = inputs[0].clone().unflatten(1, (22, 5))
        taps["heatmap"], taps["deformed_feature"] = motions[:, :, :1], motions[:, :, 1:]

    glass.register_forward_pre_hook(candidates)
    network.third.register_forward_pre_hook(lambda _m, i: taps.__setitem__("deformed_3d", i[0].unflatten(1, (32, 16))))
    dense.register_forward_hook(lambda _m, _i, o: taps.update(deformation=o[0], occlusion_map=o[1]))
    return taps


def test_inner_values_small(load_golden, golden_error, golden_inputs):
    network = load_golden(WarpingNetwork(), "warp_network")
    taps = watch(network)
    with torch.inference_mode():
        out = network(**golden_inputs("warp_network", "small"))
    taps["mask"] = torch.softmax(taps["mask_logits"], 1)
    assert golden_error("warp_network", "small/out/out", out) < LIMIT
    errors = {name: golden_error("warp_network", f"small/tap/{name}", value) for name, value in taps.items()}
    assert len(errors) == 23 and max(errors.values()) < TAP_LIMIT, errors


def test_folded_small_with_the_source_prepared_once(folded, golden_error, golden_inputs):
    x = golden_inputs("warp_network", "small")
    with torch.inference_mode():
        source = folded.prepare(x["feature_3d"], x["kp_source"])
        out = folded.warp(source, x["kp_driving"])
    assert golden_error("warp_network", "small/out/out", out) < LIMIT


@pytest.mark.slow
def test_folded_full_size(folded, golden_error, golden_inputs):
    with torch.inference_mode():
        out = folded(**golden_inputs("warp_network", "full"))
    assert golden_error("warp_network", "full/out/out", out) < LIMIT


def test_one_source_serves_a_batch_of_driven_frames(tiny):
    network, feature, source, driving = tiny
    prepared = network.prepare(feature[:1], source[:1])
    together = network.warp(prepared, driving)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], network(feature[:1], source[:1], driving[i : i + 1]))
    assert not torch.allclose(together[0], together[1])


def test_batch_of_sources_is_one_source_each(tiny):
    network, feature, source, driving = tiny
    together = network(feature, source, driving)
    for i in range(2):
        one = slice(i, i + 1)
        torch.testing.assert_close(together[one], network(feature[one], source[one], driving[one]))


def test_half_precision_stays_close(tiny):
    network, feature, source, driving = tiny
    exact = network(feature, source, driving)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(feature, source, driving)
    assert half.isfinite().all() and (half.float() - exact).abs().max() < 0.1 * exact.std()


@pytest.mark.parametrize("shape", [(1, 4, 4, 8, 9), (1, 4, 3, 8, 8), (1, 5, 4, 8, 8), (4, 4, 8, 8)])
def test_wrong_feature_shape_is_refused(tiny, shape):
    network, _, source, driving = tiny
    with pytest.raises(ValueError, match=r"feature_3d must be \(B, 4, 4, H, W\) with H and W multiples of 4, got"):
        network(torch.zeros(shape), source[:1], driving[:1])


def test_wrong_points_are_refused(tiny):
    network, feature, source, driving = tiny
    with pytest.raises(ValueError, match=r"kp_source must be \(2, 3, 3\), got \(1, 3, 3\)"):
        network(feature, source[:1], driving)
    with pytest.raises(ValueError, match="2 sources do not go with 3 driven frames"):
        network.warp(network.prepare(feature, source), torch.zeros(3, 3, 3))
    with pytest.raises(ValueError, match=r"kp_driving must be \(B, 3, 3\), got \(2, 2, 3\)"):
        network(feature, source, driving[:, :2])


def test_state_dict_has_the_published_names():
    manifest = load_manifest("warp_network").tensors
    with torch.device("meta"):
        state = WarpingNetwork().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == manifest
    assert sum(np.prod(value.shape, dtype=int) for value in state.values()) == 45529829 + 6769
