"""Loading and running ONNX files: results by name, and errors that name the file and the mismatch."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from core.backends import load
from core.backends.onnx import OrtArray, _for_gpu, load_session, providers
from core.errors import PackError

MODEL = Path(__file__).resolve().parents[2] / "checkpoints" / "ditto_lite" / "face_detection_short_range.onnx"


@pytest.fixture(scope="module")
def session():
    return load_session(MODEL)


def test_names_shapes_and_outputs(session):
    assert session.inputs["input"].shape == (1, 128, 128, 3) and session.inputs["input"].dtype == np.float32
    assert list(session.outputs) == ["regressors", "classificators"]
    out = session.run(input=np.zeros((1, 128, 128, 3), np.float32))
    assert {name: array.shape for name, array in out.items()} == {
        "regressors": (1, 896, 16),
        "classificators": (1, 896, 1),
    }


@pytest.mark.parametrize(
    "array, found",
    [
        (np.zeros((1, 64, 128, 3), np.float32), r"float32 \[1, 64, 128, 3\]"),
        (np.zeros((1, 128, 128, 3)), r"float64 \[1, 128, 128, 3\]"),
        (np.zeros((128, 128, 3), np.float32), r"float32 \[128, 128, 3\]"),
    ],
)
def test_wrong_shape_or_dtype_says_expected_and_found(session, array, found):
    with pytest.raises(PackError, match=rf"face_detection.*expected float32 \[1, 128, 128, 3\], found {found}"):
        session.run(input=array)


def test_wrong_names_are_listed(session):
    with pytest.raises(PackError, match=r"expected inputs \['input'\], found \['image'\]"):
        session.run(image=np.zeros((1, 128, 128, 3), np.float32))
    with pytest.raises(PackError, match="expected outputs boxes, found regressors, classificators"):
        session.require(outputs=("boxes",))
    assert session.require(("input",), ("regressors",)) is session
    assert session.require({"input": (1, None, None, 3)}, {"regressors": (1, None, 16)}) is session
    with pytest.raises(PackError, match=r"'regressors' should be \(1, any, 18\), is \(1, 896, 16\)"):
        session.require({"input": (1, None, None, 3)}, {"regressors": (1, None, 18)})


def test_missing_file_is_named(tmp_path):
    with pytest.raises(PackError, match=r"gone\.onnx is missing"):
        load_session(tmp_path / "gone.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_damaged_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "half.onnx"
    if content is None:
        shutil.copy(MODEL, path)
        path.write_bytes(path.read_bytes()[:50_000])
    else:
        path.write_bytes(content)
    with pytest.raises(PackError, match=r"half\.onnx is damaged") as error:
        load_session(path)
    assert "\n" not in str(error.value)


def test_gpu_is_used_where_onnxruntime_has_one():
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert providers("cpu", both) == providers("cuda", both[1:]) == providers("auto", both[1:]) == both[1:]
    assert providers("auto", both) == [(both[0], {"device_id": 0}), both[1]]
    assert providers("cuda:2", both)[0] == (both[0], {"device_id": 2})


def test_load_goes_by_the_suffix(tmp_path):
    assert load(MODEL).outputs.keys() == {"regressors", "classificators"}
    with pytest.raises(PackError, match="networks are read from .onnx"):
        load(tmp_path / "model.task")


def test_arrays_stay_on_the_device(session):
    """IO binding, here with the CPU as the device."""
    image = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype(np.float32)
    wanted, held = session.run(input=image), session.upload(image)
    assert isinstance(held, OrtArray) and held.shape == image.shape and held.dtype == np.float32
    for value in (image, held):
        found = session.run_on_device(input=value)
        assert list(found) == list(wanted) and all(isinstance(array, OrtArray) for array in found.values())
        for name, array in found.items():
            assert array.shape == wanted[name].shape and array.dtype == np.float32
            np.testing.assert_array_equal(array.numpy(), wanted[name])
    np.testing.assert_array_equal(session.run(input=held)["regressors"], wanted["regressors"])
    np.testing.assert_array_equal(held.numpy(), image)
    with pytest.raises(PackError, match=r"expected float32 \[1, 128, 128, 3\], found float32 \[1, 896, 16\]"):
        session.run_on_device(input=found["regressors"])


def sampling_model(path, op="GridSample3D", opset=17, **attributes):
    """A file that samples a volume, by the official file's custom operator."""
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node(op, ["data", "grid"], ["out"], name="GridSample", **attributes)
    value = onnx.helper.make_tensor_value_info
    shapes = {"data": (1, 2, 3, 4, 5), "grid": (1, 2, 3, 4, 3), "out": (1, 2, 2, 3, 4)}
    ends = [value(name, 1, shape) for name, shape in shapes.items()]
    graph = onnx.helper.make_graph([node], "g", ends[:2], ends[2:])
    opsets = [onnx.helper.make_opsetid("", opset)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_the_official_custom_operator_runs_without_plugin(tmp_path):
    rng = np.random.default_rng(1)
    inputs = {"data": rng.normal(size=(1, 2, 3, 4, 5)), "grid": rng.uniform(-1.2, 1.2, (1, 2, 3, 4, 3))}
    inputs = {name: array.astype(np.float32) for name, array in inputs.items()}
    wanted = load_session(sampling_model(tmp_path / "a.onnx", "GridSample", 20, mode="linear")).run(**inputs)["out"]
    custom = sampling_model(tmp_path / "warp_network.onnx")
    np.testing.assert_allclose(load_session(custom).run(**inputs)["out"], wanted, atol=1e-6)
    for name, kind in (("b", "GridSample3D"), ("c", "GridSample")):  # the graph that a GPU is given
        plain = _for_gpu(sampling_model(tmp_path / f"{name}.onnx", kind))
        (tmp_path / "plain.onnx").write_bytes(plain)
        np.testing.assert_allclose(load_session(tmp_path / "plain.onnx").run(**inputs)["out"], wanted, atol=1e-5)
    assert _for_gpu(MODEL) == str(MODEL)
    with pytest.raises(PackError, match="GridSample3D has padding_mode = 2"):
        load_session(sampling_model(tmp_path / "d.onnx", padding_mode=2))


def test_gpu_without_the_package_onnx_is_one_line(tmp_path, monkeypatch):
    path = sampling_model(tmp_path / "warp_network.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "core.onnx_graph.grid_sample", raising=False)
    assert load_session(path).outputs  # the CPU needs no such package
    with pytest.raises(PackError, match=r"warp_network.onnx: running it on a GPU needs the package onnx.*\[gpu\]"):
        _for_gpu(path)


def test_foreign_arrays_on_a_gpu_are_bound_by_address(session):
    """With the memory of another library, which ONNX Runtime here refuses since it has no GPU."""

    class Tensor:
        __cuda_array_interface__ = {"shape": (1, 128, 128, 3), "typestr": "<f4", "data": (4096, False), "strides": None}

    with pytest.raises(RuntimeError, match="(?i)cuda|device|gpu"):
        session.run_on_device(input=Tensor())
    Tensor.__cuda_array_interface__ = {**Tensor.__cuda_array_interface__, "strides": (4, 4, 4, 4)}
    with pytest.raises(PackError, match="contiguous"):
        session.run_on_device(input=Tensor())
