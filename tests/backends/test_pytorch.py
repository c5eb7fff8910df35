"""PyTorch networks behind the Session interface: shapes, devices, and errors in one line."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core.backends import load
from core.backends.pytorch import KINDS, choose_device, make_sizes
from core.errors import InputError, PackError
from core.models.lmdm import LmdmSizes

SMALL = {
    "appearance_extractor": {"widths": [8, 16, 32], "res_blocks": 1},
    "motion_extractor": {"depths": [1, 1, 1, 1], "widths": [8, 16, 24, 32]},
    "stitch_network": {"hidden": [8]},
    "lmdm": {"frames": 6, "cond": 20, "width": 16, "heads": 2, "feedforward": 8, "encoder_layers": 1},
}


def save(path, name: str, sizes: dict, seed: int = 0):
    """A file with random weights; returns the network."""
    torch.manual_seed(seed)
    network = KINDS[name].network(make_sizes(KINDS[name].sizes, sizes)).eval()
    torch.save(network.state_dict(), path)
    return network


def arrays(session) -> dict[str, np.ndarray]:
    """Random inputs of batch 1."""
    rng = np.random.default_rng(0)
    made = {}
    for name, spec in session.inputs.items():
        shape = (1, *spec.shape[1:])
        made[name] = np.full(shape, 3, np.int64) if spec.dtype.kind == "i" else rng.random(shape, np.float32)
    return made


@pytest.mark.parametrize("name", SMALL)
def test_runs_by_name_as_the_network_does(tmp_path, name):
    network = save(tmp_path / "net.pth", name, SMALL[name])
    session = load(tmp_path / "net.pth", "cpu", net_name=name, sizes=SMALL[name])
    inputs = arrays(session)
    found = session.run(**inputs)
    assert list(found) == list(session.outputs)
    with torch.inference_mode():
        wanted = network(*(torch.from_numpy(array) for array in inputs.values()))
    for array, tensor in zip(found.values(), (wanted,) if isinstance(wanted, torch.Tensor) else wanted, strict=True):
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-3, atol=1e-5)
    for key, spec in session.outputs.items():
        assert all(side in ("batch", length) for side, length in zip(spec.shape, found[key].shape, strict=True)), key


@pytest.mark.parametrize("name", ["warp_network", "decoder"])
def test_published_shapes_of_the_large_networks(name):
    with torch.device("meta"):
        network = KINDS[name].network(KINDS[name].sizes())
    points = dict.fromkeys(("kp_source", "kp_driving"), ("batch", 21, 3))
    wanted = {
        "warp_network": {"feature_3d": ("batch", 32, 16, 64, 64), **points},
        "decoder": {"feature": ("batch", 256, 64, 64)},
    }
    assert KINDS[name].inputs(network.sizes) == wanted[name]


def test_wrong_inputs_are_named(tmp_path):
    save(tmp_path / "net.pth", "stitch_network", SMALL["stitch_network"])
    session = load(tmp_path / "net.pth", "cpu", net_name="stitch_network", sizes=SMALL["stitch_network"])
    points = np.zeros((1, 21, 3), np.float32)
    with pytest.raises(PackError, match=r"net.pth: expected inputs \['kp_driving', 'kp_source'\], found \['x'\]"):
        session.run(x=points)
    with pytest.raises(PackError, match=r"'kp_driving' expected float32 .*21, 3\], found float32 \[1, 20, 3\]"):
        session.run(kp_source=points, kp_driving=points[:, 1:])
    with pytest.raises(PackError, match="found float64"):
        session.run(kp_source=points, kp_driving=points.astype(np.float64))


def test_bad_files_sizes_and_names(tmp_path):
    path = tmp_path / "net.pth"
    save(path, "stitch_network", {})
    with pytest.raises(PackError, match="not the weights of motion_extractor.*it is the file of stitch_network"):
        load(path, "cpu", net_name="motion_extractor")
    with pytest.raises(PackError, match="no PyTorch network 'stitch'"):
        load(path, "cpu", net_name="stitch")
    with pytest.raises(PackError, match="sizes .* not possible for stitch_network .*unknown width"):
        load(path, "cpu", net_name="stitch_network", sizes={"width": 3})
    with pytest.raises(PackError, match="device 'gpu' is not one of"):
        load(path, "gpu", net_name="stitch_network")
    with pytest.raises(PackError, match=r"networks are read from .onnx, .pth.* not from '.h5'"):
        load(tmp_path / "net.h5")


def test_missing_torch_names_the_extra(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    with pytest.raises(PackError, match=r"net.pth: needs the package torch: pip install -e '.\[torch\]'"):
        load(tmp_path / "net.pth", net_name="decoder")


def test_device_falls_back_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cuda").type == choose_device("cuda:1").type == "cpu"
    with pytest.raises(InputError, match=r"device 'cuda': there is no such GPU .*take --device cpu"):
        choose_device("cuda", demanded=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1", demanded=True).index == 1
    with pytest.raises(InputError, match=r"device 'cuda:2': there is no such GPU \(PyTorch has 2, numbered from 0\)"):
        choose_device("cuda:2")
    assert choose_device("auto").type == "cuda" and choose_device("cpu").type == "cpu"


def test_sizes_take_lists_for_tuples():
    assert make_sizes(LmdmSizes, {"frames": 4}).frames == 4
    assert make_sizes(KINDS["decoder"].sizes, {"up": [4, 2]}).up == (4, 2)
