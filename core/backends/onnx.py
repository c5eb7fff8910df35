"""ONNX models with ONNX Runtime, on the CPU or on a GPU, with arrays that stay on the GPU between models."""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from core.backends.onnx_header import read_onnx_header
from core.backends.session import CheckedSession, TensorSpec
from core.errors import PackError
from core.onnx_graph.standard_op import CUSTOM, STANDARD, standardise

LOG = logging.getLogger(__name__)
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class OrtArray:
    """An array that ONNX Runtime holds on a model's device; any OnnxSession on the same device takes it as input."""

    def __init__(self, value: Any):
        self.value = value  # onnxruntime.OrtValue
        self.shape = tuple(value.shape())
        self.dtype = np.dtype(DTYPES.get(value.data_type(), object))

    def numpy(self) -> np.ndarray:
        """A copy in host memory."""
        return self.value.numpy()


class OnnxSession(CheckedSession):
    """A loaded model. `inputs` and `outputs` map each name to its TensorSpec, in the model's order.

    `metadata` is what the file says of itself, {key: text}; `device` where it runs, ("cuda", 0) or ("cpu", 0).

    Both ways to run it take, as inputs, numpy arrays, OrtArrays, and whatever has `__cuda_array_interface__` (PyTorch's
    tensors on the GPU), whose contents must be complete: synchronise the stream that writes them first. Calls may come
    from several threads.
    """

    def __init__(self, path: Path, session: Any, device_id: int = 0):
        inputs, outputs = ({s.name: s for s in map(_spec, io)} for io in (session.get_inputs(), session.get_outputs()))
        super().__init__(path, inputs, outputs)
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self._session = session
        self.device = ("cuda", device_id) if CUDA in session.get_providers() else ("cpu", 0)

    def run(self, **inputs: Any) -> dict[str, np.ndarray]:
        """Run the model once and return every output by name, in host memory.

        Raises PackError when a name, shape or dtype is not what the file expects: the pack does not fit this program.
        """
        if all(isinstance(value, np.ndarray) for value in inputs.values()):
            self.check(inputs)
            return dict(zip(self.outputs, self._session.run(list(self.outputs), inputs), strict=True))
        return {name: array.numpy() for name, array in self.run_on_device(**inputs).items()}

    def run_on_device(self, **inputs: Any) -> dict[str, OrtArray]:
        """Run the model once and leave the outputs on its device. Raises PackError like `run`."""
        held = {name: _Foreign(value) if _is_foreign(value) else value for name, value in inputs.items()}
        self.check(held)
        binding = self._session.io_binding()
        for name, value in held.items():
            if isinstance(value, OrtArray):
                binding.bind_ortvalue_input(name, value.value)
            elif isinstance(value, _Foreign):
                binding.bind_input(name, "cuda", value.device_id, value.dtype, value.shape, value.address)
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in self.outputs:
            binding.bind_output(name, *self.device)  # without a shape ONNX Runtime allocates what it needs
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return {name: OrtArray(value) for name, value in zip(self.outputs, binding.get_outputs(), strict=True)}

    def upload(self, array: np.ndarray) -> OrtArray:
        """A copy on the model's device, for inputs that stay the same over many runs."""
        import onnxruntime as ort

        return OrtArray(ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *self.device))


class _Foreign:
    """Another library's array on a GPU. `keep` holds it while ONNX Runtime reads its memory."""

    def __init__(self, keep: Any):
        view = keep.__cuda_array_interface__
        self.keep, self.shape, self.dtype = keep, tuple(view["shape"]), np.dtype(view["typestr"])
        self.address = int(view["data"][0])
        device = getattr(keep, "device", None)
        self.device_id = int(getattr(device, "index", None) or getattr(device, "id", None) or 0)
        if view.get("strides") is not None:
            raise PackError("arrays on the GPU must be contiguous to be inputs of a model")


def _is_foreign(value: Any) -> bool:
    return not isinstance(value, np.ndarray) and hasattr(value, "__cuda_array_interface__")


def load_session(path: str | PathLike[str], threads: int = 1, device: str = "cpu") -> OnnxSession:
    """Load an ONNX file. The custom operator GridSample3D of the official warp_network.onnx needs no plugin.

    Args:
        threads: per operator on the CPU.
        device: "cpu", "cuda", "cuda:1" or "auto"; the CPU is used where this onnxruntime has no GPU.

    Raises PackError when the file is missing or onnxruntime cannot read it.
    """
    import onnxruntime as ort  # kept out of module import: it costs 0.1 s, and --help needs none of it

    path = Path(path)
    if not path.is_file():
        raise PackError(f"model file {path} is missing; restore the pack (git checkout, or download it again)")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    wanted = providers(device, ort.get_available_providers())
    try:
        source = _for_gpu(path) if len(wanted) > 1 else str(path)
        try:
            session = ort.InferenceSession(source, options, providers=wanted)
        except Exception as error:  # onnxruntime's own exception classes are private to its C extension
            if CUSTOM not in str(error):
                raise
            session = ort.InferenceSession(standardise(path.read_bytes()), options, providers=wanted)
    except PackError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PackError(f"model file {path} is damaged or not an ONNX model ({reason}); restore the pack") from error
    if len(wanted) > 1 and CUDA not in session.get_providers():
        LOG.warning("ONNX Runtime cannot use the GPU (CUDA or cuDNN is missing?); %s runs on the CPU", path.name)
    return OnnxSession(path, session, wanted[0][1]["device_id"] if len(wanted) > 1 else 0)


def providers(device: str, available: list[str]) -> list[Any]:
    """What ONNX Runtime shall try, in this order."""
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cuda") or CUDA not in available:
        return [CPU]
    return [(CUDA, {"device_id": int(number or 0)}), CPU]


def _for_gpu(path: Path) -> str | bytes:
    """The file, or its bytes with the volumetric sampling in plain operators: few versions have a CUDA kernel for it.

    Raises PackError when that needs the package onnx, ValueError when it is not possible.
    """
    if read_onnx_header(path).operators.isdisjoint((CUSTOM, STANDARD)):
        return str(path)
    try:
        import onnx

        from core.onnx_graph.grid_sample import expand_grid_samples
    except ImportError as error:
        raise PackError(f"{path}: running it on a GPU needs the package onnx: pip install -e '.[gpu]'") from error
    model = onnx.load(path)
    return model.SerializeToString() if expand_grid_samples(model) else str(path)


def _spec(arg: Any) -> TensorSpec:
    return TensorSpec(arg.name, tuple(arg.shape), np.dtype(DTYPES.get(arg.type, object)))
