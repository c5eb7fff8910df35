"""Stand-ins for tensorrt and cuda-python: an "engine" is the ONNX graph it was built from, "GPU memory" is the host's.

ONNX Runtime computes what TensorRT would. So everything around the two packages runs for real: graph passes, shape
ranges, notes, streams' bookkeeping, addresses and copies. What they cannot show is whether TensorRT takes the graphs.
"""

from __future__ import annotations

import ctypes
import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(float16)": np.float16}


def make_cuda(name=b"NVIDIA H200", capability=(9, 0), count=1) -> ModuleType:
    """The runtime functions that core.backends.cuda_memory calls; `held` is the memory that is not freed.

    `graphs` are the recordings and graphs that are not destroyed, `waits` what streams were told to wait for: (stream,
    event), where `marks` has the stream of each event. `current` is the thread's GPU.
    """
    module, held = ModuleType("cuda.bindings.runtime"), {}
    module.held, module.log, module.limit, module.marks = held, [], 1 << 33, {}
    module.graphs, module.waits, module.current, module.kept = set(), [], 0, 0
    module.events = iter(range(1, 1 << 30))

    def malloc(size, stream):
        if sum(map(len, held.values())) + size > module.limit:
            return 2, None
        buffer = ctypes.create_string_buffer(size)
        held[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def copy(target, source, size, kind, stream):
        assert kind == DEVICE_TO_HOST or target in held, "a copy to memory that was never allocated or is freed"
        assert kind == HOST_TO_DEVICE or source in held, "a copy from memory that was never allocated or is freed"
        ctypes.memmove(target, source, size)
        return (0,)

    def begin(stream, mode):
        module.capture = []
        return (0,)

    def end(stream):
        recorded, module.capture = tuple(module.capture), None
        module.graphs.add(("template", recorded))
        return 0, recorded

    def instantiate(template, flags):
        graph = ("graph", template)
        module.graphs.add(graph)
        return 0, graph

    def destroy(kind):
        return lambda graph: (module.graphs.remove(graph if kind == "graph" else (kind, graph)) or 0,)

    def launch(graph, stream):
        assert graph in module.graphs, "a graph that is destroyed"
        module.log.append("launch")
        for work in graph[1]:
            work()
        return (0,)

    def mark(event, stream):
        module.marks[event] = stream
        return (0,)

    def follow(stream, event, flags):
        assert event in module.marks, "waiting for an event that was never recorded"
        module.waits.append((stream, event))
        return (0,)

    def choose(device):
        module.current = device
        return (0,)

    def keep(pool, attribute, value):
        module.kept = value
        return (0,)

    done = lambda *arguments: (0,)  # noqa: E731
    module.capture = None
    module.cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice=HOST_TO_DEVICE,
        cudaMemcpyDeviceToHost=DEVICE_TO_HOST,
        cudaMemcpyDeviceToDevice=DEVICE_TO_DEVICE,
    )
    module.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    module.cudaStreamNonBlocking, module.cudaEventDisableTiming = 1, 2
    module.cudaGetDeviceCount = lambda: (0, count)
    module.cudaGetDeviceProperties = lambda i: (
        0,
        SimpleNamespace(name=name, major=capability[0], minor=capability[1]),
    )
    module.cudaStreamCreateWithFlags = lambda flags: (0, 7)
    module.cudaSetDevice, module.cudaGetDevice = choose, lambda: (0, module.current)
    module.cudaMemPoolAttr = SimpleNamespace(cudaMemPoolAttrReleaseThreshold=4)
    module.cudaDeviceGetDefaultMemPool, module.cudaMemPoolSetAttribute = lambda device: (0, "pool"), keep
    module.cudaStreamSynchronize = module.cudaEventDestroy = done
    module.cudaEventCreateWithFlags = lambda flags: (0, next(module.events))
    module.cudaEventRecord, module.cudaStreamWaitEvent = mark, follow
    module.cudaMallocAsync, module.cudaMemcpyAsync = malloc, copy
    module.cudaFreeAsync = lambda address, stream: (0 if held.pop(address, None) else 1,)
    module.cudaStreamBeginCapture, module.cudaStreamEndCapture = begin, end
    module.cudaGraphInstantiate, module.cudaGraphLaunch = instantiate, launch
    module.cudaGraphDestroy, module.cudaGraphExecDestroy = destroy("template"), destroy("graph")
    return module


class Logger:
    """trt.ILogger"""

    INTERNAL_ERROR, ERROR, WARNING = "internal", "error", "warning"

    def __init__(self):
        pass


class Context:
    """Runs a session on arrays at the addresses it was given. `changes` counts what makes recorded graphs invalid."""

    def __init__(self, engine):
        self.engine, self.shapes, self.addresses, self.changes = engine, {}, {}, 0

    def set_input_shape(self, name, shape):
        least, _, most = self.engine.ranges.get(name, (self.engine.shape(name),) * 3)
        self.shapes[name] = tuple(shape)
        self.changes += 1
        return all(a <= n <= b for a, n, b in zip(least, shape, most))

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        self.changes += 1

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return self.shapes[name]
        if -1 not in self.engine.shape(name):
            return self.engine.shape(name)
        zeros = {n: np.zeros(self.shapes[n], self.engine.kind(n)) for n in self.engine.inputs}
        found = self.engine.session.run([name], zeros)[0]
        return found.shape

    def execute_async_v3(self, stream):
        cuda = self.engine.module.cuda
        shapes, addresses, changes = dict(self.shapes), dict(self.addresses), self.changes

        def work():
            assert self.changes == changes, "a graph whose context was changed since it was recorded"
            inputs = {n: _view(addresses[n], shapes[n], self.engine.kind(n)).copy() for n in self.engine.inputs}
            results = self.engine.session.run(self.engine.outputs, inputs)
            for name, array in zip(self.engine.outputs, results):
                _view(addresses[name], array.shape, array.dtype)[...] = array

        cuda.log.append("execute")
        if cuda.capture is None:
            work()
        elif self.engine.module.no_capture:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported")
        else:
            cuda.capture.append(work)
        return True


def _view(address, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


class Engine:
    """An ONNX graph with shape ranges."""

    def __init__(self, module, data):
        import onnxruntime as ort

        text, model = data.split(b"\n", 1)
        self.module, self.ranges = module, json.loads(text)
        options = ort.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.specs = {spec.name: spec for spec in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.inputs = [spec.name for spec in self.session.get_inputs()]
        self.outputs = [spec.name for spec in self.session.get_outputs()]
        self.num_io_tensors = len(self.specs)

    def kind(self, name):
        return KINDS[self.specs[name].type]

    def shape(self, name):
        return tuple(n if isinstance(n, int) else -1 for n in self.specs[name].shape)

    def get_tensor_name(self, i):
        return [*self.inputs, *self.outputs][i]

    def get_tensor_mode(self, name):
        return "in" if name in self.inputs else "out"

    def get_tensor_profile_shape(self, name, profile):
        return self.ranges[name]

    get_tensor_shape = shape
    get_tensor_dtype = kind

    def create_execution_context(self):
        self.module.contexts += 1
        return Context(self) if self.module.contexts <= self.module.most_contexts else None


def make_trt(version="10.7.0") -> ModuleType:
    """A module that builds, saves and loads such engines; `errors` are what it refuses engines with."""
    module = ModuleType("tensorrt")
    module.__version__, module.errors, module.build_errors = version, [], []
    module.contexts, module.most_contexts, module.no_capture, module.built = 0, 100, False, []
    module.ILogger, module.nptype = Logger, lambda dtype: dtype
    module.TensorIOMode = SimpleNamespace(INPUT="in")
    module.init_libnvinfer_plugins = lambda logger, namespace: True
    module.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    module.HardwareCompatibilityLevel = SimpleNamespace(NONE=0, AMPERE_PLUS=1)
    module.get_plugin_registry = lambda: SimpleNamespace(load_library=lambda path: None)

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, data):
            for message in module.errors:
                self.logger.log(Logger.ERROR, message)
            return None if module.errors else Engine(module, data)

    class OnnxParser:
        def __init__(self, network, logger):
            self.network, self.num_errors = network, 0

        def parse(self, data):
            import onnx

            self.network.model = data
            model = onnx.ModelProto.FromString(data)
            self.foreign = [n.op_type for n in model.graph.node if n.op_type in ("GridSample", "GridSample3D")]
            self.num_errors = len(self.foreign)
            return not self.foreign

        def get_error(self, i):
            return f"In node {i}: no importer for {self.foreign[i]}"

    class Builder:
        def __init__(self, logger):
            self.logger = logger

        def create_network(self, flags):
            assert flags == 2, "not strongly typed"
            return SimpleNamespace()

        def create_builder_config(self):
            config = SimpleNamespace(profiles=[], cache=None)
            config.create_timing_cache = lambda data: SimpleNamespace(serialize=lambda: bytes(data) + b"+")
            config.set_timing_cache = lambda cache, ignore: setattr(config, "cache", cache) or True
            config.get_timing_cache = lambda: config.cache
            config.add_optimization_profile = config.profiles.append
            return config

        def create_optimization_profile(self):
            ranges = {}
            return SimpleNamespace(ranges=ranges, set_shape=lambda name, *three: ranges.update({name: three}))

        def build_serialized_network(self, network, config):
            ranges = config.profiles[0].ranges if config.profiles else {}
            module.built.append(SimpleNamespace(config=config, ranges=ranges))
            if module.build_errors:
                self.logger.log(Logger.ERROR, module.build_errors.pop(0))
                return None
            return json.dumps(ranges).encode() + b"\n" + network.model

    module.Runtime, module.OnnxParser, module.Builder = Runtime, OnnxParser, Builder
    module.cuda = make_cuda()
    return module


def install(monkeypatch, module: ModuleType) -> ModuleType:
    """Let `import tensorrt` and the imports of cuda-python find the stand-ins."""
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    for name in ("cuda", "cuda.bindings", "cuda.bindings.driver"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["cuda.bindings.driver"].cuuint64_t = int
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", module.cuda)
    return module
