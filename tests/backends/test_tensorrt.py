"""TensorRT engines with stand-ins for the two packages: what can be tested without a GPU."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from core.backends.tensorrt import load_engine
from core.errors import PackError


class FakeLogger:
    INTERNAL_ERROR, ERROR, WARNING = "internal", "error", "warning"


class FakeContext:
    """Runs y = 2 x + t, with arrays at the addresses it was given."""

    def __init__(self):
        self.shapes, self.addresses = {}, {}

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        return name != "x" or shape[1] <= 8

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def get_tensor_shape(self, name):
        return self.shapes["x"]

    def execute_async_v3(self, stream):
        size = int(np.prod(self.shapes["x"]))
        x, y = (np.ctypeslib.as_array((ctypes.c_float * size).from_address(self.addresses[n])) for n in "xy")
        y[:] = 2 * x + ctypes.c_int32.from_address(self.addresses["t"]).value
        return True


class FakeEngine:
    TENSORS = {"x": ("in", (1, -1), np.float32), "t": ("in", (1,), np.int32), "y": ("out", (1, -1), np.float32)}
    num_io_tensors = 3

    def get_tensor_name(self, i):
        return list(self.TENSORS)[i]

    def get_tensor_mode(self, name):
        return self.TENSORS[name][0]

    def get_tensor_shape(self, name):
        return self.TENSORS[name][1]

    def get_tensor_dtype(self, name):
        return self.TENSORS[name][2]

    def create_execution_context(self):
        return FakeContext()


def fake_cuda() -> ModuleType:
    """cudaMalloc and so on in host memory."""
    module, held = ModuleType("cuda.bindings.runtime"), {}

    def malloc(size):
        buffer = ctypes.create_string_buffer(size)
        held[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def copy(target, source, size, kind, stream):
        ctypes.memmove(target, source, size)
        return (0,)

    module.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    module.cudaStreamCreate = lambda: (0, 7)
    module.cudaStreamSynchronize = lambda stream: (0,)
    module.cudaMalloc, module.cudaMemcpyAsync = malloc, copy
    module.cudaFree = lambda address: (0 if held.pop(address, None) else 1,)
    module.held = held
    return module


@pytest.fixture
def trt(monkeypatch) -> ModuleType:
    """A tensorrt that refuses engines with `errors`, when there are any."""
    module = ModuleType("tensorrt")
    module.__version__, module.errors = "10.7.0", []
    module.ILogger, module.TensorIOMode, module.nptype = FakeLogger, SimpleNamespace(INPUT="in"), lambda dtype: dtype
    module.init_libnvinfer_plugins = lambda logger, namespace: True

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, data):
            for message in module.errors:
                self.logger.log(FakeLogger.ERROR, message)
            return None if module.errors else FakeEngine()

    module.Runtime = Runtime
    module.cuda = fake_cuda()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", ModuleType("cuda.bindings"))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", module.cuda)
    return module


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "decoder_fp16.engine"
    path.write_bytes(b"plan")
    return path


def test_runs_by_name_and_converts_whole_numbers(trt, engine):
    session = load_engine(engine)
    assert session.inputs["x"].shape == (1, None) and list(session.outputs) == ["y"]
    for width in (3, 5, 2):
        x = np.arange(width, dtype=np.float32)[None]
        out = session.run(x=x, t=np.array([4], np.int64))
        np.testing.assert_array_equal(out["y"], 2 * x + 4)
    assert len(trt.cuda.held) == 3  # buffers grow, and are reused


def test_wrong_inputs_are_named(trt, engine):
    session, t = load_engine(engine), np.array([4], np.int32)
    with pytest.raises(PackError, match=r"expected inputs \['t', 'x'\], found \['t', 'z'\]"):
        session.run(z=np.zeros((1, 2), np.float32), t=t)
    with pytest.raises(PackError, match=r"'x' expected float32 \[1, None\], found float64 \[1, 2\]"):
        session.run(x=np.zeros((1, 2)), t=t)
    with pytest.raises(PackError, match=r"'x' of shape \[1, 9\] is beyond what the engine allows"):
        session.run(x=np.zeros((1, 9), np.float32), t=t)


@pytest.mark.parametrize(
    "error, text",
    [
        ("Engine plan file is for an incompatible device, expecting compute 8.9 got compute 8.0", "another GPU"),
        ("Version tag does not match. Note: Current Version: 238, Serialized Engine Version: 213", "than 10.7.0"),
        ("Magic tag does not match", "damaged or not a TensorRT engine"),
    ],
)
def test_refused_engine_says_why_and_how_to_rebuild(trt, engine, error, text):
    trt.errors = [error]
    with pytest.raises(PackError, match=f"decoder_fp16.engine.*{text}.*trtexec --onnx=decoder.onnx") as caught:
        load_engine(engine)
    assert "\n" not in str(caught.value)


def test_old_version_and_missing_packages(trt, engine, monkeypatch):
    trt.__version__ = "8.6.1"
    with pytest.raises(PackError, match="TensorRT 8.6.1 is too old"):
        load_engine(engine)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(PackError, match=r"need the package tensorrt.*\[trt\]"):
        load_engine(engine)
    with pytest.raises(PackError, match="gone.engine is missing"):
        load_engine(engine.with_name("gone.engine"))
