"""Stitching network against the golden vectors of the reference."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from core.backends.checkpoint import load_network
from core.models.stitch_network import StitchNetwork, StitchSizes

NET, LIMIT = "stitch_network", 1e-5


@pytest.fixture(scope="module")
def published(golden_weights, tmp_path_factory):
    """A file as it is published: nested, with prefixes, beside the weights of other networks."""
    path = tmp_path_factory.mktemp(NET) / f"{NET}.pth"
    (key, arrays), *_ = golden_weights.checkpoint(NET).items()
    prefixed = {f"module.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({"retarget_eye": {"module.mlp.0.weight": torch.zeros(1)}, key: prefixed}, path)
    return path


@pytest.mark.parametrize("case", ["small", "full"])
def test_golden(published, golden_inputs, golden_error, case):
    network, inputs = load_network(published, StitchNetwork(), NET), golden_inputs(NET, case)
    taps = {}
    for name, layer in {"mlp0": 0, "mlp2": 2, "mlp4": 4, "delta": 6}.items():
        network.mlp[layer].register_forward_hook(lambda _m, _i, out, name=name: taps.__setitem__(name, out.clone()))
    before = {name: value.clone() for name, value in inputs.items()}
    out = network(**inputs)
    assert golden_error(NET, f"{case}/out/out", out) < LIMIT
    errors = {name: golden_error(NET, f"{case}/tap/{name}", value) for name, value in taps.items()}
    assert len(errors) == 4 and max(errors.values()) < LIMIT, errors
    assert all(torch.equal(inputs[name], before[name]) for name in inputs)


def test_zero_weights_keep_the_driving_points():
    network = StitchNetwork(StitchSizes(points=2, hidden=(4,)))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    source, driving = torch.rand(3, 2, 3), torch.rand(3, 2, 3)
    assert torch.equal(network(source, driving), driving)
    network.mlp[-1].bias.data[-2:] = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(network(source, driving) - driving, torch.tensor([1.0, 2.0, 0.0]).expand(3, 2, 3))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must be \(B, 21, 3\), got \(1, 21, 3\) and \(1, 63\)"):
        StitchNetwork()(torch.zeros(1, 21, 3), torch.zeros(1, 63))
