"""ONNX models with ONNX Runtime, on the CPU or on a GPU."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from core.backends.session import CheckedSession, TensorSpec
from core.errors import PackError

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


class OnnxSession(CheckedSession):
    """A loaded model. `inputs` and `outputs` map each name to its TensorSpec, in the model's order."""

    def __init__(self, path: Path, session: Any):
        inputs, outputs = ({s.name: s for s in map(_spec, io)} for io in (session.get_inputs(), session.get_outputs()))
        super().__init__(path, inputs, outputs)
        self._session = session

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run the model once and return every output by name.

        Raises PackError when a name, shape or dtype is not what the file expects: the pack does not fit this program.
        """
        self.check(inputs)
        return dict(zip(self.outputs, self._session.run(list(self.outputs), inputs), strict=True))


def load_session(path: str | PathLike[str], threads: int = 1, device: str = "cpu") -> OnnxSession:
    """Load an ONNX file.

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
    try:
        session = ort.InferenceSession(str(path), options, providers=providers(device, ort.get_available_providers()))
    except Exception as error:  # onnxruntime's own exception classes are private to its C extension
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PackError(f"model file {path} is damaged or not an ONNX model ({reason}); restore the pack") from error
    return OnnxSession(path, session)


def providers(device: str, available: list[str]) -> list[Any]:
    """What ONNX Runtime shall try, in this order."""
    cuda = "CUDAExecutionProvider"
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cuda") or cuda not in available:
        return ["CPUExecutionProvider"]
    return [(cuda, {"device_id": int(number or 0)}), "CPUExecutionProvider"]


def _spec(arg: Any) -> TensorSpec:
    return TensorSpec(arg.name, tuple(arg.shape), np.dtype(DTYPES.get(arg.type, object)))
