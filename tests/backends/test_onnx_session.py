"""Loading and running ONNX files: results by name, and errors that name the file and the mismatch."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.backends import load
from core.backends.onnx import load_session, providers
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
