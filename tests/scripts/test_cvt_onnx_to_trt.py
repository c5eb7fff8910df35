"""The conversion from plan to loaded engines; TensorRT is a stand-in that runs the prepared graphs in ONNX Runtime."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from core.backends.engine_tag import read_tag
from core.backends.onnx import load_session
from core.backends.onnx_compare import random_inputs
from core.backends.tensorrt import load_engine
from core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "cvt_onnx_to_trt.py"
LARGE = {"decoder", "warp_network"}  # seconds per run
FLOAT32 = {"hubert", "lmdm_v0.4_hubert", "motion_extractor"}


@pytest.fixture(scope="module")
def scripts():
    """The modules of scripts/ and the stand-in."""
    import fake_tensorrt

    from scripts import cvt_onnx_to_trt, make_random_pack
    from scripts.official import engines

    return SimpleNamespace(cvt=cvt_onnx_to_trt, fake=fake_tensorrt, pack=make_random_pack, jobs=engines)


@pytest.fixture(scope="module")
def pack(scripts, tmp_path_factory):
    """A thin pack, whose warping network names the custom operator as the official one does."""
    folder = tmp_path_factory.mktemp("onnx")
    scripts.pack.make_pack(folder, "onnx", small=True)
    return folder


@pytest.fixture
def trt(scripts, monkeypatch):
    return scripts.fake.install(monkeypatch, scripts.fake.make_trt())


def convert(scripts, pack, out, *more):
    return scripts.cvt.main(["--onnx_dir", str(pack), "--trt_dir", str(out), *more])


def copy_of(pack, target, *names):
    """Some files of the pack in a folder of their own."""
    target.mkdir()
    for name in names:
        (target / f"{name}.onnx").write_bytes((pack / f"{name}.onnx").read_bytes())
    return target


def test_plan_needs_neither_tensorrt_nor_gpu(pack, tmp_path):
    run = [sys.executable, str(SCRIPT), "--onnx_dir", str(pack), "--trt_dir", str(tmp_path / "trt"), "--plan"]
    found = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[-1] == "12 networks, 0 failed" and not (tmp_path / "trt").exists()
    for line in lines[:-1]:
        name, state, engine, precision = line.split()[:4]
        assert state == "build" and engine == f"{name}_{precision}.engine"
        assert precision == ("fp32" if name in FLOAT32 else "fp16")
    assert "hubert_fp32.engine  fp32  input_values 1x3240 .. 1x6480 .. 1x12960" in found.stdout


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_without_tensorrt_it_is_one_line(pack, tmp_path):
    run = [sys.executable, str(SCRIPT), "--onnx_dir", str(pack), "--trt_dir", str(tmp_path / "trt")]
    found = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2 and not found.stdout and found.stderr.count("\n") == 1
    assert "needs the package tensorrt" in found.stderr.replace("need the", "needs the")
    assert "[trt]" in found.stderr


def check_numbers(scripts, pack, out, names):
    """Convert, load and run; results stay close to the sources', inputs and outputs are float32."""
    assert convert(scripts, pack, out, "--half", "own", "--nets", *names) == 0
    for name in names:
        precision = "fp32" if name in FLOAT32 else "fp16"
        reference, session = load_session(pack / f"{name}.onnx"), load_engine(out / f"{name}_{precision}.engine")
        inputs = random_inputs(reference.inputs, 1)
        wanted, found = reference.run(**inputs), session.run(**inputs)
        assert list(wanted) == list(found)
        for key, array in wanted.items():
            assert found[key].dtype == np.float32
            error = np.abs(found[key] - array).max() / max(np.abs(array).max(), 1e-9)
            # noise as a volume is the worst case: neighbouring voxels differ as much as any
            assert error < (1e-5 if precision == "fp32" else 0.03), (name, key)


def test_engines_give_the_numbers_of_their_sources(scripts, pack, trt, tmp_path):
    names = {path.stem for path in pack.glob("*.onnx")} - LARGE
    check_numbers(scripts, pack, tmp_path, sorted(names))
    speech = load_engine(tmp_path / "hubert_fp32.engine")
    assert speech.run(input_values=np.zeros((1, 12960), np.float32))["encoding_out"].shape == (40, 1024)
    assert read_tag(tmp_path / "stitch_network_fp16.engine").tensorrt == "10.7.0"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_large_engines_give_the_numbers_of_their_sources(scripts, pack, trt, tmp_path):
    check_numbers(scripts, pack, tmp_path, sorted(LARGE))


def test_engines_that_fit_are_kept(scripts, pack, trt, tmp_path, capsys):
    few = copy_of(pack, tmp_path / "onnx", "stitch_network", "hubert")
    out = tmp_path / "trt"
    assert convert(scripts, few, out) == 0 and len(trt.built) == 2
    assert convert(scripts, few, out) == 0 and len(trt.built) == 2
    assert "up to date" in capsys.readouterr().out
    assert convert(scripts, few, out, "--level", "3") == 0 and len(trt.built) == 4
    assert convert(scripts, few, out, "--level", "3", "--nets", "hubert", "--force") == 0 and len(trt.built) == 5
    trt.__version__ = "11.0.0"
    assert convert(scripts, few, out, "--plan", "--level", "3") == 0
    assert "built with TensorRT 10.7.0, installed is 11.0.0" in capsys.readouterr().out and len(trt.built) == 5
    assert convert(scripts, few, out, "--level", "3") == 0 and len(trt.built) == 7
    assert (out / "timing.cache").read_bytes() == b"+++++++"  # handed on from build to build
    model = onnx.load(few / "stitch_network.onnx")
    model.doc_string = "changed"
    onnx.save(model, few / "stitch_network.onnx")
    assert convert(scripts, few, out, "--level", "3") == 0 and len(trt.built) == 8


def test_a_failure_does_not_stop_the_rest(scripts, pack, trt, tmp_path, capsys):
    few = copy_of(pack, tmp_path / "onnx", "decoder", "stitch_network", "landmark203")
    (few / "landmark203.onnx").write_bytes((pack / "landmark106.onnx").read_bytes())
    (few / "blaze_face.onnx").write_bytes(b"\x3a\x05abc")
    trt.build_errors = ["Error Code 10: no implementation for node Conv_7"]
    assert convert(scripts, few, tmp_path / "trt") == 1
    found = capsys.readouterr()
    table = {line.split()[0]: line for line in found.out.splitlines()[-5:]}
    assert table["decoder"].split()[1] == "failed" and "no implementation for node Conv_7" in table["decoder"]
    assert "expected inputs input, found data" in table["landmark203"]
    assert "truncated or not an ONNX model" in table["blaze_face"]
    assert "built" in table["stitch_network"] and "4 networks, 3 failed" in found.out
    assert {path.name for path in (tmp_path / "trt").glob("*.engine")} == {"stitch_network_fp16.engine"}


def test_the_custom_operator_needs_no_plugin(scripts, pack, trt, tmp_path, capsys):
    few = copy_of(pack, tmp_path / "onnx", "warp_network")
    model = onnx.load(few / "warp_network.onnx")
    for node in model.graph.node:
        if node.op_type == "GridSample":
            node.op_type = "GridSample3D"
            del node.attribute[:]
    onnx.save(model, few / "warp_network.onnx")
    assert convert(scripts, few, tmp_path / "trt", "--verify", "--half", "own") == 0
    line = capsys.readouterr().out.splitlines()[-2]
    assert "1 sampling(s) rewritten" in line
    assert float(line.split("difference ")[1].split(";")[0]) < 0.03
    assert convert(scripts, few, tmp_path / "trt", "--plugin", "lib.so") == 1  # the stand-in has no plugin
    assert "no importer for GridSample3D" in capsys.readouterr().err


def test_free_batch_is_halved_until_it_fits(scripts, trt, tmp_path, capsys):
    value = onnx.helper.make_tensor_value_info
    ends = [value(name, 1, ("batch", 256, 64, 64)) for name in ("feature", "output")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["feature"], ["output"])], "g", ends[:1], ends[1:])
    (tmp_path / "onnx").mkdir()
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "onnx" / "decoder.onnx")
    trt.build_errors = ["OutOfMemory (Requested size was 99)", "out of memory"]
    assert convert(scripts, tmp_path / "onnx", tmp_path / "trt", "--batch", "8") == 0
    assert [built.ranges["feature"][2][0] for built in trt.built] == [8, 4, 2]
    assert "batches of at most 2" in capsys.readouterr().out
    assert convert(scripts, tmp_path / "onnx", tmp_path / "trt", "--batch", "8") == 0 and len(trt.built) == 3
    with pytest.raises(Exception, match="beyond what the engine allows"):
        load_engine(tmp_path / "trt" / "decoder_fp16.engine").run(feature=np.zeros((3, 256, 64, 64), np.float32))


def test_an_engine_is_not_lost_with_its_timing_cache(scripts, pack, trt, tmp_path, caplog):
    few = copy_of(pack, tmp_path / "onnx", "stitch_network")
    (tmp_path / "file").touch()
    assert convert(scripts, few, tmp_path / "trt", "--timing_cache", str(tmp_path / "file" / "cache")) == 0
    assert (tmp_path / "trt" / "stitch_network_fp16.engine").is_file()
    assert "the timing cache cannot be written" in caplog.text


def test_compatibility_level(scripts, pack, trt, tmp_path):
    few = copy_of(pack, tmp_path / "onnx", "stitch_network")
    assert convert(scripts, few, tmp_path / "trt") == 0
    assert trt.built[-1].config.hardware_compatibility_level == 1
    assert read_tag(tmp_path / "trt" / "stitch_network_fp16.engine").compatibility == "ampere_plus"
    assert convert(scripts, few, tmp_path / "other", "--compatibility", "none") == 0
    assert trt.built[-1].config.hardware_compatibility_level == 0
    assert convert(scripts, few, tmp_path / "third", "--compatibility", "same_compute_capability") == 1  # old version


def test_nothing_to_do_is_one_line(scripts, pack, trt, tmp_path, capsys):
    assert convert(scripts, tmp_path, tmp_path / "trt") == 2
    assert "there are no .onnx files" in capsys.readouterr().err
    assert convert(scripts, pack, tmp_path / "trt", "--nets", "decoderr") == 2
    assert "no decoderr; there are appearance_extractor" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert convert(scripts, pack, tmp_path / "file") == 2
    assert "engines cannot be written there" in capsys.readouterr().err
    assert convert(scripts, pack, tmp_path / "trt", "--batch", "0") == 2
    with pytest.raises(InputError):
        scripts.jobs.find_jobs(tmp_path / "gone", tmp_path)


def test_second_copy_of_the_warping_network(scripts, pack, tmp_path):
    both = copy_of(pack, tmp_path / "both", "warp_network")
    (both / "warp_network_ori.onnx").write_bytes((pack / "warp_network.onnx").read_bytes())
    assert [job.source.name for job in scripts.jobs.find_jobs(both, tmp_path)] == ["warp_network.onnx"]
    (both / "warp_network.onnx").unlink()
    (job,) = scripts.jobs.find_jobs(both, tmp_path)
    assert (job.name, job.source.name, job.engine.name) == (
        *("warp_network", "warp_network_ori.onnx"),
        "warp_network_fp16.engine",
    )


def test_note_is_readable(scripts, pack, trt, tmp_path):
    few = copy_of(pack, tmp_path / "onnx", "hubert")
    convert(scripts, few, tmp_path / "trt")
    note = json.loads((tmp_path / "trt" / "hubert_fp32.engine.json").read_text())
    assert note["source"] == "../onnx/hubert.onnx" and note["gpu"] == "NVIDIA H200"
    assert note["options"]["shapes"] == {"input_values": [[1, 3240], [1, 6480], [1, 12960]]}
