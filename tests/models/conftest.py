"""Networks with the weights of the golden runs, their inputs, and the distance from recorded results."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="session")
def golden_weights() -> ModuleType:
    """The module golden/weights.py, which builds stand-in weights and inputs."""
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_golden(golden_weights: ModuleType) -> Callable[[Any, str], Any]:
    """load_golden(network, name) -> the network with the stand-in weights, strictly loaded, ready for inference."""
    torch = pytest.importorskip("torch")

    def load(network: Any, name: str) -> Any:
        arrays = golden_weights.build(golden_weights.load_manifest(name))
        network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()})
        return network.eval().requires_grad_(False)

    return load


@pytest.fixture(scope="session")
def golden_inputs(golden_weights: ModuleType) -> Callable[[str, str], dict[str, Any]]:
    """golden_inputs(name, "small" | "full") -> inputs of the recorded run, as tensors by name."""
    torch = pytest.importorskip("torch")
    return lambda name, case: {k: torch.from_numpy(v) for k, v in golden_weights.make_inputs(name, case).items()}


@pytest.fixture(scope="session")
def golden_error(golden: Callable[[str], Any]) -> Callable[[str, str, Any], float]:
    """golden_error(name, key, tensor) -> largest difference from the record, in units of the record's spread."""
    files: dict[str, Any] = {}

    def error(name: str, key: str, found: Any) -> float:
        if name not in files:
            files[name] = golden(f"{name}.npz")
        record = files[name]
        array = found.detach().float().numpy()
        assert array.shape == tuple(record[f"{key}/shape"]), f"{key}: shape {array.shape}"
        _, spread, low, high = record[f"{key}/stats"]
        difference = np.abs(array.reshape(-1)[:: record[f"{key}/step"]] - record[f"{key}/sample"]).max()
        return float(difference / max(spread, 0.01 * max(abs(low), abs(high))))

    return error
