"""Folders of official networks without a configuration of their own, and engines among what "auto" looks for."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from core.errors import PackError
from core.packs import official_folders
from core.packs import pack as packs
from core.packs.official_folders import BUILT_IN, default_config, fit_names
from core.packs.pack import best_pack, open_pack
from core.settings.config import load_config
from core.settings.run_options import make_options

NETS = (
    *("appearance_extractor", "blaze_face", "decoder", "face_mesh", "hubert", "insightface_det", "landmark106"),
    *("landmark203", "lmdm_v0.4_hubert", "motion_extractor", "stitch_network", "warp_network"),
)
FLOAT32 = ("hubert", "lmdm_v0.4_hubert", "motion_extractor")


def fill(folder: Path, *names: str) -> Path:
    """An official folder; its files are never opened here."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"model")
    return folder


def onnx_folder(folder: Path) -> Path:
    return fill(folder, *(f"{net}.onnx" for net in NETS))


def engine_folder(folder: Path, precision: str = "") -> Path:
    kind = {net: precision or ("fp32" if net in FLOAT32 else "fp16") for net in NETS}
    return fill(folder, *(f"{net}_{kind[net]}.engine" for net in NETS))


def published(folder: Path) -> Path:
    """A configuration as it is published: a pickle that names engines."""
    config = yaml.safe_load(BUILT_IN.read_text())
    for entry in (*config["base_cfg"].values(), config["audio2motion_cfg"]):
        for key, value in entry.items():
            if key.endswith("model_path"):
                net = value.removesuffix(".onnx")
                entry[key] = f"{net}_{'fp32' if net in FLOAT32 else 'fp16'}.engine"
    config["default_kwargs"]["delta_eye_arr"] = np.zeros((15, 63), np.float32)
    folder.mkdir()
    path = folder / "v0.4_hubert_cfg_trt.pkl"
    path.write_bytes(pickle.dumps(config))
    return path


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "CHECKPOINTS", tmp_path)
    return tmp_path


@pytest.fixture
def machine(monkeypatch):
    """A machine where TensorRT packs can be used; `machine.problem` says otherwise."""
    real = importlib.util.find_spec
    installed = ("tensorrt", "torch", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else real(name))

    class Machine:
        problem = ""

    monkeypatch.setattr(packs, "engine_problem", lambda files: Machine.problem if _engines(files) else "")
    return Machine


def _engines(files):
    return any(Path(file).suffix == ".engine" for file in files)


def test_built_in_configuration_is_sound():
    config = load_config(BUILT_IN)
    assert make_options(config).motion is not None
    paths = {v for e in (*config.base_cfg.values(), config.audio2motion_cfg) for k, v in e.items() if "path" in k}
    assert paths == {f"{net}.onnx" for net in NETS}


def test_onnx_folder_without_configuration(tmp_path, caplog):
    caplog.set_level("INFO")
    root = onnx_folder(tmp_path / "ditto_onnx")
    pack = open_pack(root, None, {})
    assert {path.name for path in pack.files.values()} == {f"{net}.onnx" for net in NETS}
    assert "taking the built-in one" in caplog.text and "ditto_cfg" in caplog.text


def test_the_published_configuration_serves_the_onnx_folder(tmp_path):
    root, path = onnx_folder(tmp_path / "ditto_onnx"), published(tmp_path / "ditto_cfg")
    assert default_config(root) == path
    for given in (None, path):
        pack = open_pack(root, given, {})
        assert {file.parent for file in pack.files.values()} == {root}
        assert {file.suffix for file in pack.files.values()} == {".onnx"}
        assert pack.config.default_kwargs["delta_eye_arr"].shape == (15, 63)


def test_second_name_of_the_warping_network(tmp_path):
    root = onnx_folder(tmp_path / "ditto_onnx")
    (root / "warp_network.onnx").rename(root / "warp_network_ori.onnx")
    assert open_pack(root, None, {}).files["warp_network_cfg"].name == "warp_network_ori.onnx"


@pytest.mark.parametrize("precision", ["", "fp32", "fp16"])
def test_engines_of_any_precision(tmp_path, machine, precision):
    root = engine_folder(tmp_path / "ditto_trt_custom", precision)
    files = open_pack(root, None, {}).files
    assert {path.name for path in files.values()} == {path.name for path in root.iterdir()}


def test_missing_files_keep_the_name_that_was_asked_for(tmp_path):
    root = onnx_folder(tmp_path / "ditto_onnx")
    (root / "decoder.onnx").unlink()
    with pytest.raises(PackError, match=r"model files missing: \S*ditto_onnx/decoder.onnx;"):
        open_pack(root, None, {})


def test_other_folders_get_no_configuration(tmp_path):
    with pytest.raises(PackError, match="has no config.yaml"):
        open_pack(fill(tmp_path / "x", "decoder.onnx"), None, {})


def test_names_that_are_there_stay(tmp_path):
    root = onnx_folder(tmp_path / "a")
    (root / "decoder_fp16.engine").touch()
    config = packs.override(load_config(BUILT_IN), {"base_cfg": {"decoder_cfg": {"model_path": "decoder_fp16.engine"}}})
    assert fit_names(config, root).base_cfg["decoder_cfg"]["model_path"] == "decoder_fp16.engine"
    assert fit_names(config, tmp_path) == config


def test_auto_prefers_engines_that_fit_this_machine(checkpoints, machine, caplog):
    caplog.set_level("INFO")
    assert best_pack(None, {}).embedded
    assert "no ditto_trt_* is there; ditto_pytorch is not there" in caplog.messages[-1]
    onnx_folder(checkpoints / "ditto_onnx")
    assert best_pack(None, {}).root.name == "ditto_onnx"
    engine_folder(checkpoints / "ditto_trt_custom")
    assert best_pack(None, {}).root.name == "ditto_trt_custom"
    machine.problem = "decoder_fp16.engine: it was built with TensorRT 10.7.0, installed is 11.0.0"
    assert best_pack(None, {}).root.name == "ditto_onnx"
    assert "ditto_trt_custom cannot be used" in caplog.messages[-1] and "installed is 11.0.0" in caplog.messages[-1]


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_auto_says_that_tensorrt_is_missing(checkpoints, caplog):
    caplog.set_level("INFO")
    engine_folder(checkpoints / "ditto_trt_custom")
    assert best_pack(None, {}).embedded
    assert "ditto_trt_custom needs the package tensorrt" in caplog.messages[-1]


def test_no_gpu_is_a_reason(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "backends"))
    import fake_tensorrt

    root = engine_folder(tmp_path / "ditto_trt_custom")
    trt = fake_tensorrt.install(monkeypatch, fake_tensorrt.make_trt())
    assert official_folders.engine_problem(root.iterdir()) == ""
    trt.cuda.cudaGetDeviceCount = lambda: (100, 0)
    assert "there is no GPU 0" in official_folders.engine_problem(root.iterdir())
    assert official_folders.engine_problem([tmp_path / "a.onnx"]) == ""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "tensorrt" in official_folders.engine_problem(root.iterdir())
