"""Stand-in weights and recorded numbers for the DiffTalk tests; everything here needs the extra `difftalk`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(autouse=True, scope="session")
def libraries() -> None:
    """Skip the folder where the optional libraries are absent."""
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    pytest.importorskip("PIL")


@pytest.fixture(autouse=True, scope="session")
def one_thread(libraries: None) -> Iterator[None]:
    """Small networks are slower with more threads, and the golden values were made with one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stand_ins() -> ModuleType:
    """The module that makes the deterministic weights and the synthetic data tree."""
    sys.path.insert(0, str(GOLDEN))
    try:
        import difftalk_weights
    finally:
        sys.path.remove(str(GOLDEN))
    return difftalk_weights


@pytest.fixture(scope="session")
def tiny_tensors(stand_ins: ModuleType) -> dict[str, Any]:
    """The tiny checkpoint's tensors under their original names."""
    import torch

    return {name: torch.from_numpy(value) for name, value in stand_ins.build("difftalk_tiny").items()}


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_tensors: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint as the reference's training would have written it."""
    import torch

    path = tmp_path_factory.mktemp("difftalk") / "model.ckpt"
    content = {"epoch": 0, "global_step": 1000, "pytorch-lightning_version": "1.2.5", "state_dict": tiny_tensors}
    torch.save(content, path)
    return path


@pytest.fixture(scope="session")
def tiny_config() -> Any:
    """Sizes of the tiny model."""
    from DiffTalk.config import ModelConfig

    return ModelConfig(image_size=64, unet_width=32, first_stage_width=32, codes=256)


@pytest.fixture
def tiny_model(tiny_checkpoint: Path, tiny_config: Any) -> Any:
    """The tiny model with its live weights."""
    from DiffTalk.checkpoint import load_model, open_checkpoint
    from DiffTalk.model import DiffTalkModel

    model = DiffTalkModel(tiny_config)
    load_model(open_checkpoint(tiny_checkpoint), model)
    return model
