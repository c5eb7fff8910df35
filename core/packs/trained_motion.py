"""A checkpoint of MotionDiT/train.py as the motion model of a pack: `inference.py --lmdm CKPT`.

PyTorch and safetensors files need the extra `torch`; an exported ONNX file needs nothing more than the core install.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic_components.motion_diffusion import MotionDiffusion, OneStepModel
from core.backends import TORCH_SUFFIXES, load
from core.backends.session import CheckedSession
from core.errors import PackError
from core.interfaces import Sampler
from core.motion import MOTION_DIM
from core.packs.motion_config import GROUP_WIDTHS, MotionConfig, read_config

RETRAIN = "train on features of this pack with the same --use_... flags, or choose another --data_root"


class TrainedMotion:
    """A core.interfaces.MotionModel that undoes what training did to the motion.

    Attributes:
        frames: per window; takes the place of the pack's `seq_frames`. config: what the checkpoint says.
    """

    def __init__(self, model: MotionDiffusion, config: MotionConfig):
        self._model, self.config = model, config
        self.frames = int(config.sizes["frames"])

    def sampler(self, seed: int, steps: int, method: str = "ddim") -> Sampler:
        """See MotionDiffusion."""
        inner, scaling, relative = self._model.sampler(seed, steps, method), self.config.scaling, self.config.relative
        mean, deviation = scaling if scaling else (np.float32(0), np.float32(1))

        def run(cond_frame: np.ndarray, cond: np.ndarray, start: int) -> np.ndarray:
            frame = (cond_frame - mean) / deviation
            motion = inner(frame, cond, start)
            if relative:
                motion = motion.copy()
                motion[..., slice(*relative)] += frame[:, None, slice(*relative)]
            return (motion * deviation + mean).astype(np.float32, copy=False)

        return run


def load_trained_motion(
    path: str | Path, pack: Mapping[str, Any], device: str = "auto", threads: int = 1
) -> TrainedMotion:
    """Load a trained motion network of any size.

    Args:
        path: .pt, .pth, .safetensors or .onnx. Without a description (the reference's files) it must have the
            published sizes and the pack's condition.
        pack: `audio2motion_cfg` of the pack that gives the condition.
        device, threads: see core.backends.load.

    Raises PackError when the file is damaged, or does not fit the pack: both sides are named.
    """
    path = Path(path)
    given = pack_condition(pack)
    config = read_config(path)
    if config is None:
        config = MotionConfig({"frames": pack["seq_frames"], "motion": MOTION_DIM, "cond": sum(given.values())}, given)
    _require_fit(path, config, given)
    sizes = dict(config.sizes)
    session = load(path, device, net_name="lmdm", sizes=sizes, threads=threads)
    return TrainedMotion(MotionDiffusion(_clip_model(session, sizes), int(sizes["frames"])), config)


def pack_condition(pack: Mapping[str, Any]) -> dict[str, int]:
    """Column groups of the condition that a pack gives, `aud` first, from its `audio2motion_cfg`."""
    extras = {name: width for name, width in GROUP_WIDTHS.items() if pack.get(f"use_{name}")}
    return {"aud": int(pack["audio_feat_dim"]) - sum(extras.values()), **extras}


def _require_fit(path: Path, config: MotionConfig, given: Mapping[str, int]) -> None:
    motion, first = config.sizes["motion"], config.motion_start
    if motion != MOTION_DIM or first:
        found = f"{first} .. {first + motion - 1}"
        raise PackError(f"{path}: makes motion columns {found}; inference needs all {MOTION_DIM}")
    if dict(config.condition) != dict(given):
        raise PackError(f"{path}: was trained on {_sum(config.condition)}, but the pack gives {_sum(given)}; {RETRAIN}")


def _sum(condition: Mapping[str, int]) -> str:
    """'1024 (aud) + 8 (emo) = 1032 condition columns'."""
    parts = " + ".join(f"{width} ({name})" for name, width in condition.items())
    return f"{parts} = {sum(condition.values())} condition columns"


def _clip_model(session: CheckedSession, sizes: Mapping[str, Any]) -> Any:
    """The session as MotionDiffusion takes it."""
    clip = (1, sizes["frames"])
    motion = (*clip, MOTION_DIM)
    session.require(
        {"x": motion, "cond_frame": (1, MOTION_DIM), "cond": (*clip, sizes["cond"]), "time_cond": (1,)},
        {"pred_noise": motion, "x_start": motion},
    )
    if session.path.suffix.lower() not in TORCH_SUFFIXES:
        return OneStepModel(session.run)
    from core.packs.lmdm_runner import LmdmRunner

    return LmdmRunner(session.network)
