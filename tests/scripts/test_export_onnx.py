"""Exported networks give the numbers of PyTorch in ONNX Runtime, under the official names."""

from __future__ import annotations

import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from core.backends.checkpoint import NESTING
from core.backends.onnx import load_session
from core.backends.onnx_header import read_onnx_header
from core.errors import PackError
from core.models.modules.fold import fold_constants
from core.onnx_graph.prepare import prepare

NETS = ("appearance_extractor", "motion_extractor", "warp_network", "decoder", "stitch_network", "lmdm")
TOLERANCE = 1e-4
SIDES = {"feature_3d": 32, "feature": 16, "image": 64}  # of the shrunk inputs


@pytest.fixture
def scripts():
    from scripts import export_onnx, make_random_pack
    from scripts.random_pack import weights

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield types.SimpleNamespace(export=export_onnx, pack=make_random_pack, fill=weights.fill)
    torch.set_num_threads(threads)


def inputs_of(scripts, name, full):
    """Random inputs of the production shapes, or with smaller pictures; maps are smooth, as those of networks are."""
    generator = torch.Generator().manual_seed(1)
    inputs = {}
    for key, zeros in scripts.export.example_inputs(name).items():
        shape = list(zeros.shape)
        if not full and key in SIDES:
            shape[-2:] = [SIDES[key]] * 2
        knots = [*shape[:-2], 9, 9] if key in SIDES else shape
        values = torch.rand(knots, generator=generator) - (0 if key == "image" else 0.5)
        if key in SIDES:
            values = torch.nn.functional.interpolate(values.flatten(0, -4), shape[-2:], mode="bilinear").view(shape)
        inputs[key] = values
    if "kp_driving" in inputs:
        inputs["kp_driving"] = inputs["kp_source"] + 0.2 * inputs["kp_driving"]
    if "time_cond" in inputs:
        inputs["time_cond"] = torch.tensor([639])
    return inputs


def check(scripts, name, path, small, full):
    sizes = scripts.pack.SMALL[name] if small else None
    network = fold_constants(scripts.fill(scripts.export.NETS[name].build(sizes), name))
    inputs = inputs_of(scripts, name, full)
    scripts.export.export(name, network, path, inputs)
    with torch.inference_mode():
        wanted = network(**inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    session = load_session(path)
    found = session.run(**{key: value.numpy() for key, value in inputs.items()})
    assert tuple(found) == scripts.export.NETS[name].outputs
    for (key, array), tensor in zip(found.items(), wanted, strict=True):
        reference = tensor.numpy()
        assert array.shape == reference.shape
        error = np.abs(array - reference).max() / max(reference.std(), 0.01 * np.abs(reference).max())
        print(f"{name} {key}: {error:.1e}")
        assert error < TOLERANCE, key


@pytest.mark.parametrize("name", NETS)
def test_thin_network(scripts, name, tmp_path):
    check(scripts, name, tmp_path / "net.onnx", small=True, full=False)


@pytest.mark.parametrize("name", ["warp_network", "decoder"])
def test_free_batch(scripts, name, tmp_path):
    """One file for any number of frames; the plain sampling that TensorRT gets has a free batch as well."""
    network = fold_constants(scripts.fill(scripts.export.NETS[name].build(scripts.pack.SMALL[name]), name))
    inputs, path = inputs_of(scripts, name, full=False), tmp_path / "net.onnx"
    scripts.export.export(name, network, path, inputs, free_batch=True)
    (tmp_path / "plain.onnx").write_bytes(prepare(path, "fp32").content)
    for batch in (1, 3):
        more = {key: value.repeat(batch, *[1] * (value.ndim - 1)) for key, value in inputs.items()}
        more = {
            key: value * torch.linspace(0.7, 1, batch).view(-1, *[1] * (value.ndim - 1)) for key, value in more.items()
        }
        with torch.inference_mode():
            wanted = network(**more).numpy()
        for file in (path, tmp_path / "plain.onnx"):
            found = next(iter(load_session(file).run(**{k: v.numpy() for k, v in more.items()}).values()))
            np.testing.assert_allclose(found, wanted, atol=TOLERANCE * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_published_sizes(scripts, name, tmp_path):
    check(scripts, name, tmp_path / "net.onnx", small=False, full=True)


def save(scripts, pack, name):
    """A thin network as a checkpoint of a pack whose config.yaml has its sizes."""
    net, sizes = scripts.export.NETS[name], scripts.pack.SMALL[name]
    (pack / "models").mkdir(parents=True, exist_ok=True)
    state = scripts.fill(net.build(sizes), name).state_dict()
    torch.save({NESTING[name]: state} if name in NESTING else state, pack / "models" / f"{net.file}.pth")
    (pack / "config.yaml").write_text(f"base_cfg: {{}}\naudio2motion_cfg: {{sizes: {sizes}}}\n".replace("'", ""))


def test_command_line(scripts, tmp_path, capsys):
    save(scripts, tmp_path / "pack", "lmdm")
    arguments = ["--pack", str(tmp_path / "pack"), "--out", str(tmp_path / "out"), "--nets", "lmdm"]
    assert scripts.export.main(arguments) == 0
    header = read_onnx_header(tmp_path / "out" / "lmdm_v0.4_hubert.onnx")
    assert header.inputs == ("x", "cond_frame", "cond", "time_cond")
    assert header.outputs == ("pred_noise", "x_start")
    assert "lmdm_v0.4_hubert.onnx" in capsys.readouterr().out


def test_command_line_frees_the_batch(scripts, tmp_path):
    network = scripts.fill(scripts.export.NETS["decoder"].build(scripts.pack.SMALL["decoder"]), "decoder")
    (tmp_path / "models").mkdir()
    torch.save(network.state_dict(), tmp_path / "models" / "decoder.pth")
    sizes = scripts.pack.SMALL["decoder"]
    (tmp_path / "config.yaml").write_text(f"base_cfg: {{decoder_cfg: {{sizes: {sizes}}}}}\n".replace("'", ""))
    arguments = ["--pack", str(tmp_path), "--out", str(tmp_path), "--nets", "decoder"]
    for more, batch in (([], 1), (["--free_batch"], None)):
        assert scripts.export.main(arguments + more) == 0
        assert read_onnx_header(tmp_path / "decoder.onnx").shapes == {"feature": (batch, 256, 64, 64)}


def test_names_are_those_of_the_official_files(scripts):
    from scripts.official.files import IO

    for net in scripts.export.NETS.values():
        inputs, outputs = IO[net.file]
        assert (tuple(net.inputs), net.outputs) == (tuple(inputs.split()), tuple(outputs.split()))


def test_all_missing_files_are_named(scripts, tmp_path, capsys):
    assert scripts.export.main(["--pack", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert all(f"{net.file}.pth" in error for net in scripts.export.NETS.values())


def test_unknown_sizes(scripts):
    with pytest.raises(PackError, match="unknown sizes.*height"):
        scripts.export.NETS["decoder"].build({"height": 3})


@pytest.mark.filterwarnings("ignore")
def test_layouts_are_only_ignored_during_the_export(scripts, tmp_path):
    class Copy(torch.nn.Module):
        def forward(self, x):
            return x.contiguous(memory_format=torch.channels_last_3d)

    volume = (torch.zeros(1, 3, 2, 4, 4),)
    scripts.export.write_onnx(Copy(), volume, tmp_path / "a.onnx", ["x"], ["y"])
    with pytest.raises(torch.onnx.errors.OnnxExporterError, match="memory_format"):
        torch.onnx.export(Copy(), volume, str(tmp_path / "b.onnx"), opset_version=20, dynamo=False)
