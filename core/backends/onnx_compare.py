"""Runs a prepared graph beside its source in ONNX Runtime on the CPU: how far mixed precision is from float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.backends.onnx import load_session
from core.backends.session import TensorSpec
from core.errors import PackError

FREE_LENGTHS = {"input_values": 6480}  # samples
POINT_SPREAD = 0.3  # keypoints lie within the unit cube
WHOLE = 500  # a time step of the diffusion


def difference(source: Path, prepared: bytes, seed: int = 0) -> float:
    """Largest difference between two graphs' outputs for the same random inputs, relative to the largest value.

    Raises PackError when either cannot be run.
    """
    import onnxruntime as ort

    reference = load_session(source)
    inputs = random_inputs(reference.inputs, seed)
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1  # as many as load_session takes
    try:
        session = ort.InferenceSession(prepared, options, providers=["CPUExecutionProvider"])
        found = session.run(list(reference.outputs), inputs)
    except Exception as error:  # onnxruntime's own exception classes are private to its C extension
        raise PackError(f"{source}: the prepared graph does not run ({str(error).splitlines()[0][:200]})") from error
    wanted = reference.run(**inputs)
    return max(_relative(array, other) for array, other in zip(wanted.values(), found, strict=True))


def random_inputs(specs: Mapping[str, TensorSpec], seed: int) -> dict[str, np.ndarray]:
    """Inputs as the networks see them: pictures in 0..1, keypoints around the origin, all else normal."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, spec in specs.items():
        shape = [length if isinstance(length, int) else FREE_LENGTHS.get(name, 1) for length in spec.shape]
        if spec.dtype.kind == "i":
            values = np.full(shape, WHOLE)
        elif name in ("image", "data", "input"):
            values = rng.uniform(0, 1, shape)
        else:
            values = rng.normal(size=shape) * (POINT_SPREAD if name.startswith("kp_") else 1)
        inputs[name] = values.astype(spec.dtype)
    return inputs


def _relative(wanted: np.ndarray, found: np.ndarray) -> float:
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(wanted - found).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-12))
