"""Models in the original checkpoint layout: recognise, load strictly, save (spec difftalk.md section 12)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import VQModel
from torch import Tensor

from core.errors import InputError, PackError
from DiffTalk import schedule
from DiffTalk.checkpoint_file import (
    read_content,
    safetensors_metadata,
    state_dict_of,
    write_safetensors,
    write_torch,
)
from DiffTalk.config import ModelConfig, from_tree
from DiffTalk.ema import Ema
from DiffTalk.keymap import (
    EMA,
    EMA_DECAY,
    EMA_UPDATES,
    ENCODERS,
    FIRST_STAGE,
    UNET,
    ema_name,
    first_stage_name,
    is_pointwise,
    unet_name,
)
from DiffTalk.model import DiffTalkModel

FULL, FIRST_STAGE_ONLY = "full", "first stage"
TRAIN_HINT = "train one with DiffTalk/train.py (docs/difftalk.md)"
_SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that was recognised.

    Attributes:
        kind: FULL, or FIRST_STAGE_ONLY, which is what the authors published.
        tensors: by checkpoint name; a first stage's names carry the prefix `first_stage_model.` in both kinds.
        sizes: of the networks, read off the tensors.
        audio_features: extractor of the speech logits that the model was trained with, where the file says.
        step: optimiser steps, 0 where unknown.
    """

    path: Path
    kind: str
    tensors: dict[str, Tensor]
    sizes: ModelConfig
    audio_features: str | None = None
    step: int = 0


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read and recognise a file. Raises PackError when it is of neither kind."""
    path = Path(path)
    content = read_content(path)
    tensors = state_dict_of(path, content)
    if any(name.startswith(UNET) for name in tensors):
        kind = FULL
    else:
        kind = FIRST_STAGE_ONLY
        bare = "encoder.conv_in.weight" in tensors
        prefix = FIRST_STAGE if bare else ""
        kept = {prefix + name: value for name, value in tensors.items() if not name.startswith("loss.")}
        tensors = {name: value for name, value in kept.items() if name.startswith(FIRST_STAGE)}
    if FIRST_STAGE + "encoder.conv_in.weight" not in tensors:
        some = ", ".join(sorted(map(str, tensors or content))[:_SHOWN])
        raise PackError(f"{path}: neither a DiffTalk checkpoint nor its first stage; it holds {some} ...")
    notes = safetensors_metadata(path) if path.suffix == ".safetensors" else content
    config = _stored_config(path, notes)
    step = notes.get("global_step", 0)
    return Checkpoint(
        path,
        kind,
        tensors,
        _sizes(path, tensors, config),
        notes.get("audio_features"),
        int(step) if isinstance(step, (int, str)) and str(step).isdigit() else 0,
    )


def _stored_config(path: Path, notes: Mapping[str, Any]) -> Mapping[str, Any]:
    stored = notes.get("difftalk_model")
    if not isinstance(stored, str):
        return {}
    try:
        found = json.loads(stored)
        from_tree({"model": found})
    except (ValueError, InputError):
        raise PackError(f"{path}: its model settings are damaged") from None
    return found


def _sizes(path: Path, tensors: Mapping[str, Tensor], stored: Mapping[str, Any]) -> ModelConfig:
    found = dict(stored)
    try:
        found["first_stage_width"] = tensors[FIRST_STAGE + "encoder.conv_in.weight"].shape[0]
        found["codes"] = tensors[FIRST_STAGE + "quantize.embedding.weight"].shape[0]
        if UNET + "input_blocks.0.0.weight" in tensors:
            found["unet_width"] = tensors[UNET + "input_blocks.0.0.weight"].shape[0]
    except (KeyError, IndexError):
        raise PackError(f"{path}: incomplete first stage (no codebook)") from None
    return ModelConfig(**found)


def load_first_stage(checkpoint: Checkpoint, model: DiffTalkModel) -> None:
    """Fill the first stage from a file of either kind. Raises PackError naming what differs."""
    names = {FIRST_STAGE + first_stage_name(name): name for name in model.first_stage.state_dict()}
    state = _collect(checkpoint, names, model.first_stage.state_dict(), FIRST_STAGE)
    model.first_stage.load_state_dict(state, strict=True, assign=True)


def check_full(checkpoint: Checkpoint) -> None:
    """Raises PackError for a file without a denoiser, which must never run untrained."""
    if checkpoint.kind != FULL:
        raise PackError(
            f"{checkpoint.path}: holds only the first stage (autoencoder), no denoiser; "
            f"no trained denoiser was ever published: {TRAIN_HINT}"
        )


def load_model(checkpoint: Checkpoint, model: DiffTalkModel, ema: bool = False) -> None:
    """Fill all networks, the denoiser with its averages when `ema`.

    Raises PackError for a file that holds only the first stage and for missing or misshapen tensors.
    """
    check_full(checkpoint)
    load_first_stage(checkpoint, model)
    wanted = model.unet.state_dict()
    live = {UNET + unet_name(name): name for name in wanted}
    chosen = {ema_name(original): name for original, name in live.items()} if ema else live
    model.unet.load_state_dict(_collect(checkpoint, chosen, wanted, EMA if ema else UNET), strict=True, assign=True)
    wanted = model.encoders.state_dict()
    encoders = {name: name for name in wanted}
    model.encoders.load_state_dict(_collect(checkpoint, encoders, wanted, ENCODERS), strict=True, assign=True)


def load_ema(checkpoint: Checkpoint, model: DiffTalkModel, ema: Ema) -> None:
    """Take over the averages of the denoiser and their count. Raises PackError when there are none."""
    wanted = model.unet.state_dict()
    names = {ema_name(UNET + unet_name(name)): name for name in wanted}
    state = _collect(checkpoint, names, wanted, EMA)
    updates = checkpoint.tensors.get(EMA_UPDATES)
    ema.load({name: state[name] for name in ema.shadow}, int(updates) if updates is not None else 0)


def _collect(
    checkpoint: Checkpoint, names: Mapping[str, str], wanted: Mapping[str, Tensor], prefix: str | tuple[str, ...]
) -> dict[str, Tensor]:
    """{our name: tensor} for {checkpoint name: our name}; refuses missing, unexpected and misshapen tensors."""
    found = checkpoint.tensors
    missing = [name for name in names if name not in found]
    known = {*names, EMA_DECAY, EMA_UPDATES}
    unexpected = [name for name in found if name.startswith(prefix) and name not in known]
    state, shapes = {}, []
    for original, name in names.items():
        if original not in found:
            continue
        value = found[original]
        if is_pointwise(original) and value.ndim == 4:
            value = value[:, :, 0, 0]
        if value.shape != wanted[name].shape:
            shapes.append(f"{original} is {list(value.shape)}, should be {list(wanted[name].shape)}")
        state[name] = value.to(torch.float32, copy=True).contiguous()  # the file may be mapped
    parts = [
        f"{len(entries)} of {len(names)} {what} ({', '.join(entries[:_SHOWN])}{' ...' * (len(entries) > _SHOWN)})"
        for what, entries in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if entries
    ]
    if parts:
        raise PackError(f"{checkpoint.path}: another layout: tensors {'; '.join(parts)}")
    return state


def original_state(model: DiffTalkModel, ema: Ema | None) -> dict[str, Tensor]:
    """All tensors under the original names, in the original order of parts."""
    state = {name: torch.from_numpy(table.copy()) for name, table in schedule.buffers().items()}
    live = {UNET + unet_name(name): value for name, value in model.unet.state_dict().items()}
    state.update(live)
    if ema is not None:
        state[EMA_DECAY] = torch.tensor(ema.decay, dtype=torch.float32)
        state[EMA_UPDATES] = torch.tensor(ema.updates, dtype=torch.int32)
        state.update({ema_name(UNET + unet_name(name)): value for name, value in ema.shadow.items()})
    state.update({FIRST_STAGE + name: value for name, value in named_first_stage(model.first_stage).items()})
    state.update(model.encoders.state_dict())
    return {name: value.detach().cpu() for name, value in state.items()}


def named_first_stage(first_stage: VQModel) -> dict[str, Tensor]:
    """The first stage under the names of the published file."""
    state = {}
    for name, value in first_stage.state_dict().items():
        original = first_stage_name(name)
        state[original] = (value[:, :, None, None] if is_pointwise(original) else value).detach().cpu()
    return state


def save_checkpoint(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    sizes: ModelConfig,
    step: int = 0,
    audio_features: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors as .ckpt (a dictionary with `state_dict`, the original layout) or .safetensors.

    `more` are further entries of a .ckpt beside `state_dict`, for resuming.
    """
    path = Path(path)
    notes: dict[str, Any] = {"global_step": step, "difftalk_model": json.dumps(sizes.__dict__)}
    if audio_features:
        notes["audio_features"] = audio_features
    if path.suffix == ".safetensors":
        write_safetensors(tensors, {name: str(value) for name, value in notes.items()}, path)
    elif path.suffix == ".ckpt":
        write_torch({"epoch": 0, **notes, **(more or {}), "state_dict": dict(tensors)}, path)
    else:
        raise InputError(f"{path}: name the checkpoint .ckpt or .safetensors")
