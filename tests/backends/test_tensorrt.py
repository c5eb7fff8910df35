"""Engine sessions with stand-ins for TensorRT and the GPU: what can be tested without either."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import fake_tensorrt
from onnx import TensorProto, helper

from core.backends.cuda_memory import LEGACY_STREAM, OutOfGpuMemory
from core.backends.engine_tag import EngineTag, Gpu, fingerprint, read_tag, tag_path, write_tag
from core.backends.handover import LastUpload, share_gpu
from core.backends.tensorrt import engine_problem, load_engine
from core.errors import PackError

H200 = Gpu("NVIDIA H200", (9, 0))


@pytest.fixture
def trt(monkeypatch):
    return fake_tensorrt.install(monkeypatch, fake_tensorrt.make_trt())


@pytest.fixture
def engine(tmp_path) -> Path:
    """y = 2 x + t, for x of width 1 to 8."""
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, "width")),
        helper.make_tensor_value_info("t", TensorProto.INT64, (1,)),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, "width")),
    ]
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("Cast", ["t"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["twice", "real"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", ends[:2], ends[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "decoder_fp16.engine"
    path.write_bytes(json.dumps({"x": [[1, 1], [1, 4], [1, 8]]}).encode() + b"\n" + model.SerializeToString())
    return path


def tag_of(engine: Path, **changes) -> EngineTag:
    """A note that fits the stand-ins, and the source that it names."""
    source = engine.with_name("decoder.onnx")
    source.write_bytes(b"graph")
    values = dict(tensorrt="10.7.0", gpu=H200.name, capability=(9, 0), compatibility="none", source="decoder.onnx")
    size, digest = fingerprint(source)
    rest = dict(source_size=size, source_sha256=digest, engine_size=engine.stat().st_size)
    return EngineTag(**{**values, **rest, **changes})


class Tensor:
    """What PyTorch shows of an array on the GPU, here in host memory that the stand-in knows."""

    def __init__(self, array, cuda, strides=None):
        _, self.address = cuda.cudaMallocAsync(array.nbytes, 0)
        self.held = array
        cuda.cudaMemcpyAsync(self.address, array.ctypes.data, array.nbytes, 1, 0)
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (self.address, False),
            "strides": strides,
            "version": 2,
        }


@pytest.mark.parametrize("graphs", [False, True])
def test_runs_by_name_and_converts_whole_numbers(trt, engine, graphs):
    session = load_engine(engine, cuda_graphs=graphs)
    assert session.inputs["x"].shape == (1, None) and list(session.outputs) == ["y"]
    for width in (3, 3, 3, 3, 5, 2, 2, 2, 3, 3):
        x = np.arange(width, dtype=np.float32)[None] + width
        np.testing.assert_array_equal(session.run(x=x, t=np.array([4], np.int32))["y"], 2 * x + 4)
    launches = trt.cuda.log.count("launch")
    assert launches == (3 if graphs else 0)  # run, record, [3, 3], 5: recordings are gone, 2, record, [2], 3, record


def test_graphs_are_destroyed(trt, engine):
    session = load_engine(engine, cuda_graphs=True)
    for width in (3, 3, 3, 5, 5, 5, 3):
        session.run(x=np.ones((1, width), np.float32), t=np.array([4]))
        assert len(trt.cuda.graphs) <= 1
    assert trt.cuda.log.count("launch") == 2 and not trt.cuda.graphs


def test_memory_is_given_back(trt, engine):
    session = load_engine(engine)
    for _ in range(20):
        session.run(x=np.ones((1, 8), np.float32), t=np.array([1]))
    assert len(trt.cuda.held) == 2  # places of the two inputs


@pytest.mark.parametrize("graphs", [False, True])
def test_arrays_stay_on_the_gpu_between_engines(trt, engine, graphs):
    first, second = load_engine(engine, cuda_graphs=graphs), load_engine(engine, cuda_graphs=graphs)
    t = np.array([1])
    for start in range(4):
        x = np.arange(4, dtype=np.float32)[None] + start
        between = first.run_on_device(x=x, t=t)["y"]
        assert between.shape == (1, 4) and between.dtype == np.float32
        np.testing.assert_array_equal(second.run(x=between, t=t)["y"], 2 * (2 * x + 1) + 1)
        np.testing.assert_array_equal(between.numpy(), 2 * x + 1)


@pytest.mark.parametrize("graphs", [False, True])
def test_foreign_arrays_and_streams(trt, engine, graphs):
    session = load_engine(engine, cuda_graphs=graphs)
    x = np.arange(6, dtype=np.float32)[None]
    for stream in (None, 11, SimpleNamespace(cuda_stream=12), SimpleNamespace(__cuda_stream__=lambda: (0, 13))):
        out = session.run_on_device(stream, x=Tensor(x, trt.cuda), t=np.array([2]))["y"]
        np.testing.assert_array_equal(out.numpy(), 2 * x + 2)
        view = out.__cuda_array_interface__
        assert view["shape"] == (1, 6) and view["typestr"] == "<f4" and view["data"] == (out.address, False)
    with pytest.raises(PackError, match="input 'x' must be contiguous"):
        session.run(x=Tensor(x, trt.cuda, strides=(8, 4)), t=np.array([2]))
    with pytest.raises(PackError, match="input 'x' is a list, not an array"):
        session.run(x=[1.0], t=np.array([2]))


def follows(cuda, stream, other) -> bool:
    """Whether `stream` was told to wait for something on `other`."""
    return any(waiting == stream and cuda.marks[event] == other for waiting, event in cuda.waits)


def test_the_default_stream_waits_until_foreign_inputs_are_read(trt, engine):
    """Else their owner, PyTorch say, may fill the memory with something else too early."""
    session, x = load_engine(engine), np.ones((1, 3), np.float32)
    session.run(x=x, t=np.array([2]))
    own = session._free.get()
    session._free.put(own)
    own.stream = 21  # the stand-in gives all streams one handle
    assert not follows(trt.cuda, LEGACY_STREAM, 21)
    session.run(x=Tensor(x, trt.cuda), t=np.array([2]))
    assert follows(trt.cuda, 21, LEGACY_STREAM) and follows(trt.cuda, LEGACY_STREAM, 21)


def test_what_others_read_is_freed_after_them(trt, engine):
    session, x = load_engine(engine), np.ones((1, 3), np.float32)
    for lent in (False, True):
        out = session.run_on_device(31, x=x, t=np.array([2]))["y"]
        address = out.address
        assert not lent or out.__cuda_array_interface__["data"][0] == address
        trt.cuda.waits.clear()
        trt.cuda.current = 5  # the thread of the finaliser works on another GPU
        del out
        assert address not in trt.cuda.held and trt.cuda.current == 5
        assert {trt.cuda.marks[event] for _, event in trt.cuda.waits} == ({31, LEGACY_STREAM} if lent else set())


def test_freed_memory_stays_with_the_process(trt, engine):
    load_engine(engine)
    assert trt.cuda.kept >= 1 << 28  # by default each synchronisation gives it back to the system


def test_a_failed_run_is_waited_for(trt, engine):
    session, t = load_engine(engine), np.array([1])
    session.run(x=np.ones((1, 8), np.float32), t=t)
    trt.cuda.limit = 50
    with pytest.raises(OutOfGpuMemory):
        session.run_on_device(41, x=np.ones((1, 8), np.float32), t=t)  # has put its inputs into their places
    trt.cuda.limit = 1000
    trt.cuda.waits.clear()
    session.run_on_device(42, x=np.ones((1, 8), np.float32), t=t)
    assert follows(trt.cuda, 42, 41)


def test_what_stays_the_same_is_uploaded_once(trt, engine):
    first, second = load_engine(engine), load_engine(engine)
    assert share_gpu(first, second) and first.device == ("cuda", 0)
    upload, x = LastUpload(first), np.ones((1, 3), np.float32)
    assert upload(x) is upload(x) and upload(x.copy()) is not upload(x)
    np.testing.assert_array_equal(second.run(x=upload(x), t=np.array([1]))["y"], 2 * x + 1)


def test_contexts_serve_several_threads(trt, engine):
    session = load_engine(engine, contexts=3)
    assert trt.contexts == 3
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            x = rng.normal(size=(1, rng.integers(1, 9))).astype(np.float32)
            if not np.array_equal(session.run(x=x, t=np.array([seed]))["y"], 2 * x + np.float32(seed)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    trt.most_contexts = 4
    with pytest.raises(PackError, match="not enough free GPU memory.*fewer streams"):
        load_engine(engine, contexts=2)


def test_what_cannot_be_recorded_runs_without(trt, engine, caplog):
    trt.no_capture = True
    session = load_engine(engine, cuda_graphs=True)
    x = np.ones((1, 3), np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(session.run(x=x, t=np.array([1]))["y"], 2 * x + 1)
    assert [m for m in caplog.messages if "cannot be recorded as a CUDA graph" in m] == [caplog.messages[0]]


def test_full_gpu_is_one_line(trt, engine):
    session = load_engine(engine)
    trt.cuda.limit = 40
    with pytest.raises(OutOfGpuMemory, match="the GPU is out of memory; close other programs"):
        session.run(x=np.ones((1, 8), np.float32), t=np.array([1]))
    trt.cuda.limit = 1000
    assert session.run(x=np.ones((1, 8), np.float32), t=np.array([1]))["y"].sum() == 24


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
    with pytest.raises(PackError, match=f"decoder_fp16.engine.*{text}.*cvt_onnx_to_trt.py .*--nets decoder") as caught:
        load_engine(engine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"tensorrt": "11.0.0"}, "built with TensorRT 11.0.0, installed is 10.7.0"),
        (
            {"gpu": "NVIDIA A100", "capability": (8, 0)},
            r"built for NVIDIA A100 \(compute capability 8.0\), here is NVIDIA",
        ),
        ({"gpu": "NVIDIA H100"}, "built for NVIDIA H100"),
        ({"gpu": "x", "capability": (8, 9), "compatibility": "same_compute_capability"}, "built for x"),
        ({"source_sha256": "0"}, "decoder.onnx has changed since"),
        ({"engine_size": 3}, "old and new files are mixed"),
    ],
)
def test_stale_engine_says_which_and_how_to_rebuild(trt, engine, changes, text):
    write_tag(engine, tag_of(engine, **changes))
    with pytest.raises(
        PackError, match=f"decoder_fp16.engine: .*{text}.*rebuild it: python scripts/cvt_onnx_to_trt.py"
    ):
        load_engine(engine)
    assert "decoder_fp16.engine: " in engine_problem([engine])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gpu": "NVIDIA A100", "capability": (8, 0), "compatibility": "ampere_plus"},
        {"gpu": "NVIDIA H100", "compatibility": "same_compute_capability"},
        {"source": "gone.onnx"},
    ],
)
def test_engine_that_fits_loads(trt, engine, changes):
    tag = tag_of(engine, **changes)
    write_tag(engine, tag)
    assert read_tag(engine) == tag and engine_problem([engine]) == ""
    assert load_engine(engine).outputs.keys() == {"y"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"capability": 3}'])
def test_unreadable_note_counts_as_none(trt, engine, text):
    tag_path(engine).write_text(text)
    assert read_tag(engine) is None
    load_engine(engine)


def test_old_version_and_missing_packages(trt, engine, monkeypatch):
    with pytest.raises(PackError, match="there is no GPU 3"):
        load_engine(engine, "cuda:3")
    with pytest.raises(PackError, match="run on a GPU only, not on 'cpu'"):
        load_engine(engine, "cpu")
    with pytest.raises(PackError, match="gone.engine is missing"):
        load_engine(engine.with_name("gone.engine"))
    monkeypatch.setattr(trt, "__version__", "8.6.1")
    with pytest.raises(PackError, match="TensorRT 8.6.1 is too old"):
        load_engine(engine)
    monkeypatch.setattr(trt, "__version__", "11.0.0")
    assert load_engine(engine).outputs
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setitem(sys.modules, "cuda.cudart", None)
    with pytest.raises(PackError, match=r"need the package cuda-python.*\[trt\]"):
        load_engine(engine)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(PackError, match=r"need the package tensorrt, version 10 or 11.*\[trt\]"):
        load_engine(engine)
    assert "tensorrt" in engine_problem([engine])
