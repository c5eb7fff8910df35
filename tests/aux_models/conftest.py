"""Stand-ins for networks, and the pictures of the adapter goldens."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


class FakeSession:
    """Answers with fixed outputs and keeps what it was fed; a callable output is computed from the input."""

    path = "fake.onnx"

    def __init__(self, outputs: Mapping[str, Any], **inputs: tuple):
        self._outputs = outputs
        self.inputs = {name: SimpleNamespace(shape=shape) for name, shape in inputs.items()}
        self.outputs = {name: SimpleNamespace(shape=getattr(value, "shape", ())) for name, value in outputs.items()}
        self.fed: list[np.ndarray] = []

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        assert set(inputs) == set(self.inputs)
        self.fed.append(next(iter(inputs.values())))
        return {name: value(self.fed[-1]) if callable(value) else value for name, value in self._outputs.items()}


@pytest.fixture(scope="session")
def makers() -> ModuleType:
    """The module that made pictures and noise for adapters.npz: `picture(tag, h, w)`, `uniform(tag, shape)`."""
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake_session() -> Callable[..., FakeSession]:
    """fake_session(outputs by name, input_name=shape)."""
    return FakeSession


@pytest.fixture(scope="session")
def assert_sampled() -> Callable[..., None]:
    """assert_sampled(value, arrays, key, atol): `value` against a tensor stored as shape, step and sample."""

    def check(value: np.ndarray, arrays: Mapping[str, np.ndarray], key: str, atol: float, off: float = 0.0) -> None:
        assert value.dtype == np.float32 and value.shape == tuple(arrays[f"{key}/shape"])
        wrong = np.abs(value.reshape(-1)[:: int(arrays[f"{key}/step"])] - arrays[f"{key}/sample"]) > atol
        assert wrong.mean() <= off

    return check
