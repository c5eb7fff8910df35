"""The downloader without a network: what it asks the hub for, and what it says of the files that lie there."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import types
import zipfile
from pathlib import Path

import pytest


@pytest.fixture
def scripts():
    """The two modules."""
    from scripts import download_checkpoints
    from scripts.official import files

    return types.SimpleNamespace(check=files, download=download_checkpoints)


@pytest.fixture
def hub(monkeypatch):
    """A hub client whose downloads are recorded; `hub.action(folder, patterns)` is what they do."""
    module = types.ModuleType("huggingface_hub")
    module.calls, module.action = [], lambda folder, patterns: None

    def snapshot_download(repo_id, local_dir, allow_patterns):
        module.calls.append((repo_id, local_dir, allow_patterns))
        module.action(Path(local_dir), allow_patterns)

    module.snapshot_download, module.model_info = snapshot_download, lambda repo_id: None
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


def no_torch(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(field, content):
    return bytes([field << 3 | 2]) + varint(len(content)) + content


def onnx_bytes(inputs, outputs, weights=()):
    """An ONNX file with nothing but names, and a node larger than any buffer."""
    graph = message(1, bytes(70_000))
    graph += b"".join(message(5, message(8, name.encode())) for name in weights)
    graph += b"".join(message(11, message(1, name.encode())) for name in (*inputs, *weights))
    graph += b"".join(message(12, message(1, name.encode())) for name in outputs)
    return b"\x08\x09" + message(7, graph) + message(8, b"\x10\x11")


def write(root, item):
    """A file that passes for `item` as long as nobody looks at tensors."""
    path = root / item.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".onnx":
        path.write_bytes(onnx_bytes(item.io[0].split() or ["x"], item.io[1].split() or ["y"], ["w"]))
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"base_cfg": {}, "audio2motion_cfg": {}, "default_kwargs": {}}))
    elif path.suffix in (".pth", ".task"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", b"0" * 100)
    else:
        path.write_bytes(b"engine")


def test_download_asks_for_the_folders_and_lists_what_is_missing(scripts, hub, tmp_path, capsys):
    def deliver(folder, patterns):
        for item in scripts.check.inventory("trt")[1:]:
            write(folder, item)

    hub.action = deliver
    assert scripts.download.main(["--subset", "trt", "--out", str(tmp_path)]) == 1
    assert hub.calls == [("digital-avatar/ditto-talkinghead", tmp_path, ["ditto_trt_Ampere_Plus/*"])]
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == ["12 files, 1 missing or damaged:", "  ditto_trt_Ampere_Plus/appearance_extractor_fp16.engine"]
    assert sum(line.startswith("ok ") for line in said) == 11


def test_the_default_is_the_pytorch_pack(scripts, hub, tmp_path):
    assert scripts.download.main(["--out", str(tmp_path)]) == 1
    assert hub.calls[0][2] == ["ditto_pytorch/*", "ditto_cfg/*"]


def test_a_complete_folder_passes(scripts, tmp_path, capsys):
    for subset in ("onnx", "trt", "cfg"):
        for item in scripts.check.inventory(subset):
            if not item.optional:
                write(tmp_path, item)
    assert scripts.download.main(["--check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.endswith("29 files, 0 missing or damaged\n") and "warp_network_ori.onnx" in said


def test_no_network_is_one_line(scripts, hub, tmp_path, capsys):
    def fail(folder, patterns):
        raise ConnectionError("host not found\nand a long story")

    hub.action = fail
    assert scripts.download.main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "host not found" in said and f"--check {tmp_path}" in said


def test_an_existing_folder_does_not_pass_for_a_download(scripts, hub, tmp_path, capsys):
    def unreachable(repo_id):
        raise ConnectionError("host not found")

    hub.model_info = unreachable  # the client's snapshot_download returns an existing local_dir without an error
    assert scripts.download.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not hub.calls


def test_no_client_names_the_extra(scripts, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert scripts.download.main(["--out", str(tmp_path)]) == 2
    assert ".[download]" in capsys.readouterr().err


def test_a_foreign_folder_is_refused(scripts, tmp_path, capsys):
    assert scripts.download.main(["--check", str(tmp_path)]) == 2
    assert "ditto_pytorch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        ("ditto_onnx/hubert.onnx", b"", "is empty"),
        ("ditto_onnx/hubert.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("ditto_onnx/hubert.onnx", b"<!DOCTYPE html><html>", "web page"),
        ("ditto_onnx/hubert.onnx", onnx_bytes(["audio"], ["encoding_out"]), "inputs input_values, found audio"),
        ("ditto_onnx/hubert.onnx", onnx_bytes(["input_values"], ["out"]), "outputs encoding_out, found out"),
        ("ditto_onnx/hubert.onnx", onnx_bytes(["input_values"], ["encoding_out"])[:-900], "truncated"),
        ("ditto_onnx/hubert.onnx", b"\xff" * 300, "not an ONNX model"),
        ("ditto_onnx/hubert.onnx", message(7, b""), "no inputs"),
        ("ditto_pytorch/aux_models/face_landmarker.task", b"PK\x03\x04 and no end", "not an archive"),
        ("ditto_pytorch/models/decoder.pth", b"PK\x03\x04 and no end", "truncated"),
        ("ditto_cfg/v0.4_hubert_cfg_pytorch.pkl", pickle.dumps(print), "print"),
    ],
)
def test_damaged_files_are_explained(scripts, tmp_path, path, content, problem):
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    findings = scripts.check.check(tmp_path, scripts.download.present(tmp_path))
    finding = next(f for f in findings if f.item.path == path)
    assert finding.state == "damaged" and problem in finding.problem and "\n" not in finding.problem
    assert finding.size == len(content) and str(tmp_path) not in finding.problem


def test_pth_files_are_compared_with_the_manifests(scripts, tmp_path):
    torch = pytest.importorskip("torch")
    folder = tmp_path / "ditto_pytorch" / "models"
    folder.mkdir(parents=True)
    tensors = scripts.check.load_manifest("stitch_network").tensors
    good = {f"module.{name}": torch.zeros(shape) for name, shape in tensors.items()}
    torch.save({"retarget_shoulder": good, "retarget_eye": {}}, folder / "stitch_network.pth")
    torch.save({name: torch.zeros(1) for name in ("a", "b")}, folder / "decoder.pth")
    found = {f.item.network: f for f in scripts.check.check(tmp_path, ["pytorch"]) if f.item.network}
    assert found["stitch_network"].state == "ok"
    assert found["decoder"].state == "damaged" and "182 of 182 tensors missing" in found["decoder"].problem
    assert found["lmdm"].state == "missing" and found["lmdm"].failed


def test_without_torch_archives_are_weighed(scripts, tmp_path, monkeypatch):
    no_torch(monkeypatch)
    for item in scripts.check.inventory("pytorch"):
        write(tmp_path, item)
    stitch = tmp_path / "ditto_pytorch" / "models" / "stitch_network.pth"
    with zipfile.ZipFile(stitch, "w") as archive:
        archive.writestr("data/0", bytes(4 * 45249))
    findings = {f.item.network or f.item.path: f for f in scripts.check.check(tmp_path, ["pytorch"])}
    assert findings["stitch_network"].state == "ok"
    assert "decoder needs 221461552" in findings["decoder"].problem
    assert findings["ditto_pytorch/aux_models/face_landmarker.task"].state == "ok"


def test_manifests_agree_with_their_counts(scripts):
    for network in scripts.check.NETWORKS:
        manifest = scripts.check.load_manifest(network)
        numbers = sum(_product(shape) for shape in manifest.tensors.values())
        assert manifest.parameters <= numbers < manifest.parameters * 1.01 + 10_000
    with pytest.raises(KeyError, match="no network 'x'"):
        scripts.check.load_manifest("x")


def _product(shape):
    result = 1
    for size in shape:
        result *= size
    return result
