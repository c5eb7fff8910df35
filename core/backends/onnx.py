"""ONNX models on the CPU: a session with named inputs and outputs, and errors that name the file and the mismatch."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

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


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape (an int per fixed axis, a name or None per free axis) and dtype of a model's input or output."""

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype

    def accepts(self, array: np.ndarray) -> bool:
        """Whether `array` has this dtype and a shape that agrees on every fixed axis."""
        if array.dtype != self.dtype or array.ndim != len(self.shape):
            return False
        sizes = zip(self.shape, array.shape, strict=True)
        return all(not isinstance(want, int) or want == found for want, found in sizes)


class OnnxSession:
    """A loaded model. `inputs` and `outputs` map each name to its TensorSpec, in the model's order."""

    def __init__(self, path: Path, session: Any):
        self.path = path
        self._session = session
        self.inputs = {spec.name: spec for spec in map(_spec, session.get_inputs())}
        self.outputs = {spec.name: spec for spec in map(_spec, session.get_outputs())}

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run the model once and return every output by name.

        Raises PackError when a name, shape or dtype is not what the file expects: the pack does not fit this program.
        """
        self._check(inputs)
        return dict(zip(self.outputs, self._session.run(list(self.outputs), inputs), strict=True))

    def require(self, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> OnnxSession:
        """Return self if the model has these inputs and outputs; raise PackError naming the missing ones."""
        for kind, wanted, found in (("inputs", inputs, self.inputs), ("outputs", outputs, self.outputs)):
            missing = [name for name in wanted if name not in found]
            if missing:
                raise PackError(
                    f"{self.path}: expected {kind} {', '.join(wanted)}, found {', '.join(found)}; not the right model"
                )
        return self

    def _check(self, inputs: dict[str, np.ndarray]) -> None:
        if set(inputs) != set(self.inputs):
            raise PackError(f"{self.path}: expected inputs {sorted(self.inputs)}, found {sorted(inputs)}")
        for name, array in inputs.items():
            want = self.inputs[name]
            if not want.accepts(array):
                raise PackError(
                    f"{self.path}: input '{name}' expected {want.dtype} {list(want.shape)}, "
                    f"found {array.dtype} {list(array.shape)}"
                )


def load_session(path: str | PathLike[str], threads: int = 1) -> OnnxSession:
    """Load an ONNX file for the CPU with `threads` threads per operator.

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
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception classes are private to its C extension
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PackError(f"model file {path} is damaged or not an ONNX model ({reason}); restore the pack") from error
    return OnnxSession(path, session)


def _spec(arg: Any) -> TensorSpec:
    return TensorSpec(arg.name, tuple(arg.shape), np.dtype(DTYPES.get(arg.type, object)))
