"""Motion extractor against the golden vectors of the reference."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from core.backends.checkpoint import load_network
from core.models.manifest import load_manifest
from core.models.modules.convnext import ChannelNorm, ResponseNorm
from core.models.motion_extractor import MotionExtractor, MotionPrediction, MotionSizes

NET, LIMIT, TAP_LIMIT = "motion_extractor", 3e-5, 1e-4


@pytest.fixture(scope="module")
def network(golden_weights, tmp_path_factory):
    """Loaded from a file as it is published."""
    path = tmp_path_factory.mktemp(NET) / f"{NET}.pth"
    torch.save({name: torch.from_numpy(array) for name, array in golden_weights.checkpoint(NET).items()}, path)
    with torch.device("meta"):
        network = MotionExtractor()
    network = load_network(path, network, NET)
    path.unlink()
    return network


def test_inner_values_small(network, golden_inputs, golden_error):
    detector, taps = network.detector, {}
    block = detector.stages[0][0]
    parts = {"dwconv": block.dwconv, "norm": block.norm, "grn": block.grn}
    parts = {f"stage0.block0.{name}": part for name, part in parts.items()}
    parts |= {"stage0.block0": block, "pooled_norm": detector.norm}
    for i in range(4):
        parts |= {f"down{i}": detector.downsample_layers[i], f"stage{i}": detector.stages[i]}
    hooks = [
        part.register_forward_hook(lambda _m, _i, out, name=name: taps.__setitem__(name, out.clone()))
        for name, part in parts.items()
    ]
    with torch.inference_mode():
        network(**golden_inputs(NET, "small"))
    for hook in hooks:
        hook.remove()
    errors = {name: golden_error(NET, f"small/tap/{name}", value) for name, value in taps.items()}
    assert len(errors) == 13 and max(errors.values()) < TAP_LIMIT, errors


@pytest.mark.parametrize("case", ["small", "full"])
def test_golden(network, golden_inputs, golden_error, case):
    with torch.inference_mode():
        out = network(**golden_inputs(NET, case))
    assert out._fields == ("pitch", "yaw", "roll", "t", "exp", "scale", "kp") == network.OUTPUTS
    errors = {name: golden_error(NET, f"{case}/out/{name}", value) for name, value in out._asdict().items()}
    assert max(errors.values()) < LIMIT, errors


def test_state_dict_has_the_published_names():
    manifest = load_manifest(NET).tensors
    with torch.device("meta"):
        state = MotionExtractor().state_dict()
    assert [*state] == [*manifest]
    assert {name: tuple(value.shape) for name, value in state.items()} == manifest


def test_channel_norm(golden):
    stored = {key[6:]: torch.from_numpy(value) for key, value in golden("helpers.npz").items() if key[:6] == "ln_cf/"}
    norm = ChannelNorm(16)
    norm.load_state_dict({"weight": stored["weight"], "bias": stored["bias"]})
    torch.testing.assert_close(norm(stored["x"]), stored["out"])


def test_response_norm(golden):
    stored = {key[4:]: torch.from_numpy(value) for key, value in golden("helpers.npz").items() if key[:4] == "grn/"}
    norm = ResponseNorm(16)
    norm.load_state_dict({"gamma": stored["gamma"], "beta": stored["beta"]})
    torch.testing.assert_close(norm(stored["x"]), stored["out"])


def test_half_precision_stays_close():
    torch.manual_seed(0)
    tiny = MotionExtractor(MotionSizes(depths=(1, 1), widths=(8, 12), bins=5, points=2)).eval()
    image = torch.rand(2, 3, 16, 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        half = tiny(image)
    exact = tiny(image)
    assert isinstance(half, MotionPrediction) and half.pitch.shape == (2, 5) and half.kp.shape == (2, 6)
    for name, value in half._asdict().items():
        torch.testing.assert_close(value.float(), getattr(exact, name), atol=0.05, rtol=0.05)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="as many depths as widths"):
        MotionSizes(depths=(1,), widths=(8, 12))


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"divisible by 32, got \(3, 256, 256\)"):
        MotionExtractor()(torch.zeros(3, 256, 256))
