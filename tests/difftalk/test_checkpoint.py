"""Files of weights: the original layout, first stage alone, both directions, and files that must be refused."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from core.errors import PackError
from DiffTalk.checkpoint import (
    FIRST_STAGE_ONLY,
    FULL,
    load_ema,
    load_first_stage,
    load_model,
    open_checkpoint,
    original_state,
    save_checkpoint,
)
from DiffTalk.ema import Ema
from DiffTalk.model import DiffTalkModel


def test_full_file_round_trip(tiny_checkpoint: Path, tiny_model: Any, tiny_tensors: dict, tmp_path: Path) -> None:
    found = open_checkpoint(tiny_checkpoint)
    assert (found.kind, found.step, found.sizes.unet_width, found.sizes.codes) == (FULL, 1000, 32, 256)
    ema = Ema(tiny_model.unet)
    load_ema(found, tiny_model, ema)
    state = original_state(tiny_model, ema)
    assert set(state) == set(tiny_tensors)
    for name, value in tiny_tensors.items():
        assert state[name].dtype == value.dtype and torch.allclose(state[name], value, rtol=1e-6), name
    for target in (tmp_path / "again.ckpt", tmp_path / "again.safetensors"):
        save_checkpoint(target, state, found.sizes, 7, "some-extractor")
        again = open_checkpoint(target)
        assert (again.kind, again.step, again.audio_features) == (FULL, 7, "some-extractor")
        assert torch.equal(again.tensors["model.diffusion_model.out.2.bias"], state["model.diffusion_model.out.2.bias"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.ckpt", "again.safetensors"]


def test_averaged_weights_are_others(tiny_checkpoint: Path, tiny_config: Any, tiny_model: Any) -> None:
    averaged = DiffTalkModel(tiny_config)
    load_model(open_checkpoint(tiny_checkpoint), averaged, ema=True)
    live, shadow = tiny_model.unet.conv_in.weight, averaged.unet.conv_in.weight
    assert torch.allclose(shadow, live * 15 / 16)


def test_published_file_is_a_first_stage(stand_ins: Any, tiny_config: Any, tmp_path: Path) -> None:
    content = stand_ins.first_stage_checkpoint("difftalk_tiny")
    content["state_dict"] = {name: torch.from_numpy(value) for name, value in content["state_dict"].items()}
    content["state_dict"]["loss.discriminator.weight"] = torch.zeros(1)
    path = tmp_path / "model.ckpt"
    torch.save(content, path)
    found = open_checkpoint(path)
    assert found.kind == FIRST_STAGE_ONLY
    model = DiffTalkModel(tiny_config)
    load_first_stage(found, model)
    assert torch.equal(model.first_stage.encoder.conv_in.weight, content["state_dict"]["encoder.conv_in.weight"])
    with pytest.raises(PackError, match="only the first stage.*no denoiser"):
        load_model(found, model)


def test_lightning_classes_are_inert(tiny_tensors: dict, tmp_path: Path) -> None:
    """Lightning 1.2 uses classes as keys of `callbacks`; they are neither imported nor called."""
    module = types.ModuleType("lightning_stand_in")
    exec("class ModelCheckpoint:\n    def __init__(self): raise SystemExit('was run')", module.__dict__)
    module.ModelCheckpoint.__module__ = "lightning_stand_in"
    sys.modules["lightning_stand_in"] = module
    path = tmp_path / "epoch=000000.ckpt"
    try:
        torch.save({"callbacks": {module.ModelCheckpoint: {"best": 1}}, "state_dict": tiny_tensors}, path)
    finally:
        del sys.modules["lightning_stand_in"]
    assert open_checkpoint(path).kind == FULL


class Runs:
    """Asks the unpickler to run a program."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple:
        import os

        return os.system, (f"touch {self.target}",)


def test_a_file_that_wants_to_run_something_is_refused(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.ckpt", tmp_path / "ran"
    torch.save({"state_dict": {}, "callbacks": Runs(mark)}, path)
    with pytest.raises(PackError) as refused:
        open_checkpoint(path)
    assert not mark.exists() and "\n" not in str(refused.value)


def _without(name: str) -> Any:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def _reshaped(tensors: dict) -> dict:
    return {**tensors, "model.diffusion_model.out.2.bias": torch.zeros(4)}


def _more(tensors: dict) -> dict:
    return {**tensors, "model.diffusion_model.label_emb.weight": torch.zeros(4)}


BROKEN = [
    (_without("model.diffusion_model.out.2.bias"), "1 of 688 missing .*out.2.bias"),
    (_without("cond_stage_model_for_ldm.encoder_fc1.0.weight"), "missing .cond_stage_model_for_ldm"),
    (_without("first_stage_model.quantize.embedding.weight"), "codebook"),
    (_reshaped, "another shape"),
    (_more, "unexpected .*label_emb"),
    (lambda tensors: {"other.weight": torch.zeros(2)}, "neither a DiffTalk checkpoint"),
    (lambda tensors: {}, "no tensors"),
]


@pytest.mark.parametrize(("change", "says"), BROKEN)
def test_other_layouts(tiny_tensors: dict, tiny_config: Any, tmp_path: Path, change: Any, says: str) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": change(tiny_tensors)}, path)
    with pytest.raises(PackError, match=says):
        load_model(open_checkpoint(path), DiffTalkModel(tiny_config))


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04broken", pickle.dumps([1, 2])])
@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors", "model.bin"])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PackError) as refused:
        open_checkpoint(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
