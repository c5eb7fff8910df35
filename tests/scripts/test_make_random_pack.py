"""Random packs are complete, depend on the seed only, load strictly, and their face models see a face."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from core.aux_models.analyser import OfficialAnalyser
from core.aux_models.hubert_streaming import HubertStreaming
from core.aux_models.landmark106 import Landmark106
from core.aux_models.landmark203 import Landmark203
from core.aux_models.landmark478 import BlazeFace, FaceMesh256, Landmark478
from core.aux_models.scrfd_detector import ScrfdDetector
from core.aux_models.wavlm import WavLm
from core.aux_models.wavlm_torch import load_wavlm
from core.backends.checkpoint import load_network, load_state_dict
from core.backends.onnx import load_session
from core.backends.onnx_header import read_onnx_header
from core.models.manifest import load_manifest
from core.settings.config import load_config
from core.settings.options import CropOptions
from core.settings.run_options import make_options
from core.utils.crop import crop_image, face_parts
from core.utils.eyes import eye_state

PYTORCH_AUX = {
    *("det_10g.onnx", "2d106det.onnx", "landmark203.onnx", "hubert_streaming_fix_kv.onnx"),
    *("blaze_face.onnx", "face_mesh.onnx"),
}
NETS = ("appearance_extractor", "motion_extractor", "warp_network", "decoder", "stitch_network", "lmdm")


@pytest.fixture(scope="module")
def scripts():
    from scripts import export_onnx, make_random_pack
    from scripts.official import files
    from scripts.random_pack import weights

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield types.SimpleNamespace(pack=make_random_pack, nets=export_onnx.NETS, fill=weights.fill, io=files.IO)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def packs(scripts, tmp_path_factory):
    """A small pack of each format."""
    root = tmp_path_factory.mktemp("packs")
    for kind in scripts.pack.FORMATS:
        assert scripts.pack.main(["--format", kind, "--out", str(root / kind), "--small"]) == 0
    return root


def model_paths(config):
    entries = [*config.base_cfg.values(), config.audio2motion_cfg]
    return {value for entry in entries for key, value in entry.items() if key.endswith("model_path")}


def test_pytorch_pack_is_complete(scripts, packs):
    pack = packs / "pytorch"
    models = {f"models/{net.file}.pth" for net in scripts.nets.values()}
    expected = models | {f"aux_models/{name}" for name in PYTORCH_AUX}
    found = {str(path.relative_to(pack)) for path in pack.rglob("*") if path.is_file()}
    assert found == expected | {"config.yaml"}
    assert model_paths(load_config(pack / "config.yaml")) == expected


def test_onnx_pack_has_the_official_names(scripts, packs):
    pack = packs / "onnx"
    assert {path.name for path in pack.iterdir()} == {f"{name}.onnx" for name in scripts.io} | {"config.yaml"}
    assert model_paths(load_config(pack / "config.yaml")) == {f"{name}.onnx" for name in scripts.io}
    for name, (inputs, outputs) in scripts.io.items():
        header = read_onnx_header(pack / f"{name}.onnx")
        assert (header.inputs, header.outputs) == (tuple(inputs.split()), tuple(outputs.split())), name


@pytest.mark.parametrize("kind", ["pytorch", "onnx"])
def test_options_are_usable(packs, kind):
    options = make_options(load_config(packs / kind / "config.yaml"))
    assert options.motion.sampling_timesteps == 10


@pytest.mark.parametrize("name", NETS)
def test_checkpoints_load_strictly(scripts, packs, name):
    config = load_config(packs / "pytorch" / "config.yaml")
    entry = config.audio2motion_cfg if name == "lmdm" else config.base_cfg[f"{name}_cfg"]
    network = scripts.nets[name].build(entry.get("sizes"))
    load_network(packs / "pytorch" / entry["model_path"], network, name)
    state = load_state_dict(packs / "pytorch" / entry["model_path"], name)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


@pytest.mark.parametrize("name", NETS)
def test_without_small_the_tensors_are_the_published_ones(scripts, name):
    with torch.device("meta"):
        state = scripts.nets[name].build().state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == load_manifest(name).tensors
    assert "sizes" not in str(scripts.pack.pack_config("pytorch", small=False))


@pytest.mark.parametrize("name", NETS)
def test_weights_depend_on_the_seed_only(scripts, name):
    def weights(seed):
        state = scripts.fill(scripts.nets[name].build(scripts.pack.SMALL[name]), name, seed).state_dict()
        return torch.cat([tensor.flatten().float() for tensor in state.values()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_both_formats_hold_the_same_networks(scripts, packs):
    sizes = load_config(packs / "pytorch" / "config.yaml").base_cfg["motion_extractor_cfg"]["sizes"]
    network = scripts.nets["motion_extractor"].build(sizes)
    load_network(packs / "pytorch" / "models" / "motion_extractor.pth", network, "motion_extractor")
    image = torch.rand((1, 3, 256, 256), generator=torch.Generator().manual_seed(0))
    found = load_session(packs / "onnx" / "motion_extractor.onnx").run(image=image.numpy())
    for name, tensor in network(image)._asdict().items():
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", ["pytorch", "onnx"])
@pytest.mark.parametrize("size", [(480, 640), (700, 400)])
def test_face_models_see_a_face_in_the_middle(packs, kind, size):
    config = load_config(packs / kind / "config.yaml").base_cfg
    open_model = {k: load_session(packs / kind / v) for e in config.values() for k, v in paths_of(config, e)}
    detector, rough, fine = (open_model[k] for k in ("insightface_det_cfg", "landmark106_cfg", "landmark203_cfg"))
    eyes = Landmark478(BlazeFace(open_model["blaze_face_model_path"]), FaceMesh256(open_model["face_mesh_model_path"]))
    analyser = OfficialAnalyser(ScrfdDetector(detector), Landmark106(rough), Landmark203(fine), eyes, dict, dict)
    picture = np.full((*size, 3), 128, np.uint8)
    (face,), score = analyser.find(picture)
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    assert score > 0.8
    np.testing.assert_allclose((low + high) / 2, [size[1] / 2, size[0] / 2], atol=0.1 * min(size))
    np.testing.assert_allclose((high - low).max(), 0.6 * min(size), rtol=0.25)
    np.testing.assert_allclose(analyser.track(picture, face.landmarks).landmarks, face.landmarks, atol=0.01)
    crop = crop_image(picture, face.landmarks, size=512, options=CropOptions())
    mesh = eyes(crop.image)
    np.testing.assert_allclose(face_parts(mesh) * 512, face_parts(crop.to_crop(face.landmarks)), atol=0.5)
    assert (np.abs(eye_state(mesh)[0] - 0.7) < 0.3).all()


def paths_of(config, entry):
    """(name, path) of an entry's models: the entry's name, or the key where it has two."""
    name = next(key for key, value in config.items() if value is entry)
    paths = [(key, value) for key, value in entry.items() if key.endswith("model_path") and value.endswith(".onnx")]
    return [(name if key == "model_path" else key, value) for key, value in paths]


@pytest.mark.parametrize("file", ["pytorch/aux_models/hubert_streaming_fix_kv.onnx", "onnx/hubert.onnx"])
def test_speech_encoder_takes_chunks_of_any_length(packs, file):
    encoder = HubertStreaming(load_session(packs / file))
    samples = np.random.default_rng(0).normal(size=(1, 12960)).astype(np.float32) * 0.1
    whole = encoder(samples)
    for count in (3240, 6480, 12960):
        rows = encoder(samples[:, :count])
        assert rows.shape == ((count - 400) // 320 + 1, 1024)
        np.testing.assert_allclose(rows, whole[: len(rows)], atol=1e-4)  # a convolution sees no further


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")
def test_hubert_of_transformers(scripts, tmp_path):
    thin = {"num_hidden_layers": 1, "intermediate_size": 64, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16}
    network = scripts.pack.build_hubert(0, thin)
    free = {"input_values": {1: "samples"}, "encoding_out": {0: "rows"}}
    path = tmp_path / "hubert.onnx"
    scripts.pack.write_onnx(network, (torch.zeros(1, 6480),), path, ["input_values"], ["encoding_out"], free)
    encoder = HubertStreaming(load_session(path))
    for count in (3240, 6480, 12960):
        samples = torch.randn((1, count), generator=torch.Generator().manual_seed(count)) * 0.1
        rows = encoder(samples.numpy())
        assert rows.shape == ((count - 400) // 320 + 1, 1024)
        np.testing.assert_allclose(rows, network(samples).numpy(), atol=1e-4)


@pytest.mark.parametrize("library", ["transformers", "onnx"])
def test_missing_library_is_named(scripts, monkeypatch, tmp_path, capsys, library):
    monkeypatch.delitem(sys.modules, "scripts.random_pack.faces", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(scripts.pack, "NETS", {})
    assert scripts.pack.main(["--format", "onnx", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert library in error and "pip install" in error


def test_a_folder_that_cannot_be_made_is_one_line(scripts, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert scripts.pack.main(["--format", "onnx", "--out", str(tmp_path / "file" / "pack")]) == 2
    error = capsys.readouterr().err
    assert "the pack cannot be written" in error and error.count("\n") == 1


def test_wavlm_packs_of_both_formats_give_the_same_features(scripts, tmp_path):
    pytest.importorskip("transformers")
    audio = np.random.default_rng(0).normal(0, 0.1, 9000).astype(np.float32)
    rows = []
    for kind in scripts.pack.FORMATS:
        scripts.pack.write_wavlm(tmp_path, kind, 0, True)
        entry = scripts.pack.pack_config(kind, True, "wavlm")["base_cfg"]["wavlm_cfg"]
        file = tmp_path / Path(entry["model_path"]).name
        session = load_wavlm(file, "cpu", entry["sizes"]) if kind == "pytorch" else load_session(file)
        rows.append(WavLm(session).extract(audio))
    assert rows[0].shape == (15, 1024) and rows[0].std() > 0.1
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


@pytest.mark.parametrize("kind", ["pytorch", "onnx"])
def test_configuration_of_a_wavlm_pack(scripts, kind):
    config = scripts.pack.pack_config(kind, False, "wavlm")
    assert config["audio2motion_cfg"]["w2f_type"] == "wavlm"
    assert "hubert_cfg" not in config["base_cfg"] and "sizes" not in config["base_cfg"]["wavlm_cfg"]
