"""Files of weights: published nesting, safe reading, and what is said of files that do not fit."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core.backends.checkpoint import load_network, load_state_dict
from core.errors import PackError
from core.models.appearance_extractor import AppearanceExtractor, AppearanceSizes
from core.models.motion_extractor import MotionExtractor, MotionSizes
from core.models.stitch_network import StitchNetwork, StitchSizes

APPEARANCE = AppearanceSizes(widths=(4, 6, 8), channels=3, depth=2, res_blocks=1)
MOTION = MotionSizes(depths=(1, 1), widths=(8, 12), bins=5, points=2)
STITCH = StitchSizes(points=2, hidden=(4,))
KINDS = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}


def write_safetensors(path, state):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        raw = tensor.contiguous().numpy().tobytes()
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def stitch_file(path, **save_options):
    """A file as it is published: nested, with a prefix, beside other networks. Returns the network within."""
    network = StitchNetwork(STITCH).eval()
    prefixed = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    other = {"module.mlp.0.weight": torch.zeros(1)}
    torch.save({"retarget_mouth": other, "retarget_shoulder": prefixed}, path, **save_options)
    return network


def refusal(path, net="stitch_network", network=None):
    """What is said of a file; always one line that begins with its path."""
    with pytest.raises(PackError) as caught:
        load_network(path, network or StitchNetwork(STITCH), net)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


@pytest.mark.parametrize("zipped", [True, False])
def test_published_nesting(tmp_path, zipped):
    original = stitch_file(tmp_path / "s.pth", _use_new_zipfile_serialization=zipped)
    loaded = load_network(tmp_path / "s.pth", StitchNetwork(STITCH), "stitch_network")
    points = torch.rand(2, 1, 2, 3)
    assert torch.equal(loaded(*points), original(*points)) and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("key", ["", "model_state_dict", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_other_nestings_and_prefixes(tmp_path, key, prefix):
    state = StitchNetwork(STITCH).state_dict()
    prefixed = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({key: prefixed, "epoch": 3} if key else prefixed, tmp_path / "s.pt")
    found = load_state_dict(tmp_path / "s.pt", "stitch_network")
    assert list(found) == list(state) and all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("prefix", ["", "retarget_shoulder.module."])
def test_safetensors(tmp_path, prefix):
    state = StitchNetwork(STITCH).state_dict()
    write_safetensors(tmp_path / "s.safetensors", {prefix + name: tensor for name, tensor in state.items()})
    found = load_state_dict(tmp_path / "s.safetensors", "stitch_network")
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_kinds_of_numbers_are_kept_in_the_file_and_fit_the_network(tmp_path):
    state = AppearanceExtractor(APPEARANCE).state_dict()
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    write_safetensors(tmp_path / "f.safetensors", half)
    assert load_state_dict(tmp_path / "f.safetensors")["second.bias"].dtype == torch.float16
    loaded = load_network(tmp_path / "f.safetensors", AppearanceExtractor(APPEARANCE), "appearance_extractor")
    assert loaded.second.bias.dtype == torch.float32
    assert loaded.second.bias.equal(state["second.bias"].half().float())


def test_folding_is_optional_and_changes_no_numbers(tmp_path):
    original, image = AppearanceExtractor(APPEARANCE).eval(), torch.rand(1, 3, 8, 8)
    torch.save(original.state_dict(), tmp_path / "f.pth")
    plain, folded = (
        load_network(tmp_path / "f.pth", AppearanceExtractor(APPEARANCE), "appearance_extractor", fold=fold)
        for fold in (False, True)
    )
    assert torch.equal(plain(image), original(image)) and list(plain.state_dict()) == list(original.state_dict())
    torch.testing.assert_close(folded(image), original(image))
    assert len(folded.state_dict()) < len(original.state_dict())


def test_network_without_storage_is_filled(tmp_path):
    original = stitch_file(tmp_path / "s.pth")
    with torch.device("meta"):
        empty = StitchNetwork(STITCH)
    points = torch.rand(2, 1, 2, 3)
    assert torch.equal(load_network(tmp_path / "s.pth", empty, "stitch_network")(*points), original(*points))


def test_network_outlives_its_file(tmp_path):
    original, points = stitch_file(tmp_path / "s.pth"), torch.rand(2, 1, 2, 3)
    loaded = load_network(tmp_path / "s.pth", StitchNetwork(STITCH), "stitch_network")
    with open(tmp_path / "s.pth", "r+b") as file:
        file.write(bytes((tmp_path / "s.pth").stat().st_size))
    assert torch.equal(loaded(*points), original(*points))


def test_another_network_is_recognised(tmp_path):
    torch.save(MotionExtractor(MOTION).state_dict(), tmp_path / "m.pth")
    text = refusal(tmp_path / "m.pth")
    assert "not the weights of stitch_network: 4 of 4 tensors missing" in text
    assert "(mlp.0.weight, mlp.0.bias, mlp.2.weight, ...)" in text
    assert "unexpected (detector." in text and text.endswith("it is the file of motion_extractor")


def test_other_sizes_are_named(tmp_path):
    stitch_file(tmp_path / "s.pth")
    text = refusal(tmp_path / "s.pth", network=StitchNetwork(StitchSizes(points=2, hidden=(5,))))
    assert "3 of another shape (mlp.0.weight should be [5, 12], is [4, 12]; " in text and "other sizes" in text


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda s: s.pop("mlp.2.bias"), "1 of 4 tensors missing (mlp.2.bias); the file is incomplete"),
        (lambda s: s.update(more=torch.zeros(1)), "1 of 5 unexpected (more); the file has more than the network"),
        (lambda s: s.update(more=s.pop("mlp.2.bias")), "another version of the network"),
        (lambda s: (s.clear(), s.update(a=torch.zeros(1))), "a file of something else"),
        (lambda s: s.clear(), "holds no tensors"),
        (lambda s: s.update({"module.mlp.0.bias": torch.zeros(4)}), "1 names occur twice"),
    ],
)
def test_differences_are_explained(tmp_path, change, expected):
    state = dict(StitchNetwork(STITCH).state_dict())
    change(state)
    torch.save(state, tmp_path / "s.pth")
    assert expected in refusal(tmp_path / "s.pth")


@pytest.mark.parametrize("content", [{"retarget_mouth": {"a": torch.zeros(1)}, "epoch": 1}, {1: torch.zeros(1)}])
def test_wrong_nesting_names_the_keys(tmp_path, content):
    torch.save(content, tmp_path / "s.pth")
    text = refusal(tmp_path / "s.pth")
    assert "under 'retarget_shoulder', found the keys " in text and str(next(iter(content))) in text


def test_a_list_is_no_state_dict(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "s.pth")
    assert "holds a list, not a state dict" in refusal(tmp_path / "s.pth")


class Attack:
    """Unpickled unsafely, it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("save", ["zip", "legacy", "pickle"])
def test_nothing_in_a_file_is_run(tmp_path, save):
    content, path = {"mlp.0.weight": Attack(str(tmp_path / "made"))}, tmp_path / "s.pth"
    if save == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=save == "zip")
    text = refusal(path)
    assert not (tmp_path / "made").exists()
    assert f"asks to run {os.mkdir.__module__}.mkdir" in text or save == "pickle" and "damaged" in text, text


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(StitchNetwork(STITCH), tmp_path / "s.pth")
    assert "asks to run core.models.stitch_network.StitchNetwork" in refusal(tmp_path / "s.pth")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_every_truncation_is_refused(tmp_path, kind):
    path = tmp_path / ("s.safetensors" if kind == "safetensors" else "s.pth")
    if kind == "safetensors":
        write_safetensors(path, StitchNetwork(STITCH).state_dict())
    else:
        stitch_file(path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    for end in np.linspace(0, len(data) - 1, 200).astype(int):
        path.write_bytes(data[:end])
        text = refusal(path)
        assert "truncated" in text or "damaged" in text or end == 0, (end, text)


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"\x00\x01\x02" * 50, "damaged or"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_foreign_files_are_named(tmp_path, data, expected, suffix):
    path = tmp_path / f"s{suffix}"
    path.write_bytes(data)
    assert expected in refusal(path) or suffix == ".safetensors" and "not a safetensors" in refusal(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "X64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32"},
        3,
    ],
)
def test_inconsistent_safetensors_are_refused(tmp_path, entry):
    text = json.dumps({"a": entry}).encode()
    (tmp_path / "s.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    assert "damaged or not a file of weights (not a valid safetensors file" in refusal(tmp_path / "s.safetensors")


def test_missing_files_folders_and_other_suffixes(tmp_path):
    assert "is missing" in refusal(tmp_path / "s.pth")
    (tmp_path / "f.pth").mkdir()
    assert "is missing" in refusal(tmp_path / "f.pth")
    assert ".pth, .pt, .safetensors, not from '.onnx'" in refusal(tmp_path / "s.onnx")
