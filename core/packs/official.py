"""Builds the official packs, whichever backend runs their networks (spec pipeline.md 2, 14.1, 22; models.md 11, 12)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic_components.motion_diffusion import MotionDiffusion, OneStepModel
from core.atomic_components.wav2feat import Wav2Feat
from core.aux_models.analyser import OfficialAnalyser
from core.aux_models.hubert_streaming import HubertStreaming
from core.aux_models.landmark106 import Landmark106
from core.aux_models.landmark203 import Landmark203
from core.aux_models.landmark478 import BlazeFace, FaceMesh256, Landmark478, MediaPipe478
from core.aux_models.scrfd_detector import ScrfdDetector
from core.aux_models.wavlm import WavLm
from core.backends import TORCH_SUFFIXES, load
from core.backends.session import CheckedSession
from core.errors import PackError
from core.interfaces import AudioEncoder, Models
from core.motion import MOTION_DIM, NUM_BINS, NUM_KEYPOINTS
from core.packs.session_renderer import SessionRenderer
from core.settings.options import PackConfig
from core.settings.speed import Speed

IMAGE = {"image": (1, 3, 256, 256)}
POINTS = (1, NUM_KEYPOINTS, 3)
SHAPES = {  # entry of the configuration -> inputs and outputs of its network; what only networks see is left open
    "appearance_extractor_cfg": (IMAGE, {"pred": (1, None, None, None, None)}),
    "motion_extractor_cfg": (
        IMAGE,
        {
            **dict.fromkeys(("pitch", "yaw", "roll"), (1, NUM_BINS)),
            **{"t": (1, 3), "exp": (1, 3 * NUM_KEYPOINTS), "scale": (1, 1), "kp": (1, 3 * NUM_KEYPOINTS)},
        },
    ),
    "stitch_network_cfg": (dict.fromkeys(("kp_source", "kp_driving"), POINTS), {"out": POINTS}),
    "warp_network_cfg": (
        {"feature_3d": (1, None, None, None, None), "kp_source": POINTS, "kp_driving": POINTS},
        {"out": (1, None, None, None)},
    ),
    "decoder_cfg": ({"feature": (1, None, None, None)}, {"output": (1, 3, 512, 512)}),
}
FACE_MODELS = ("insightface_det_cfg", "landmark106_cfg", "landmark203_cfg")
TASK = "landmark478_cfg.task_path"
PAIR = ("landmark478_cfg.blaze_face_model_path", "landmark478_cfg.face_mesh_model_path")
STAGES_AT_WORK = 2  # warp and decode run side by side and share the processor's cores


def build(config: PackConfig, files: Mapping[str, Path], speed: Speed = Speed()) -> Models:
    """Load every model of the pack.

    Args:
        config: the pack's configuration.
        files: model file of each entry as `core.packs.model_files.find_models` names them, all present.
        speed: how its networks are run.

    Raises PackError when a file is damaged or not the right model, or a package is missing that it needs; InputError
    when the device that `speed` demands is not there or has too little memory.
    """
    sessions = {name: _network(config, files, name, speed) for name in SHAPES}
    renderer = _renderer(sessions, speed)
    stitch = sessions["stitch_network_cfg"]
    return Models(
        analyser=_analyser(config, files, sessions["motion_extractor_cfg"], renderer, speed),
        audio=audio_encoder(config, files, speed),
        motion=MotionDiffusion(_motion_model(config, files, speed), config.audio2motion_cfg["seq_frames"]),
        warp=renderer.warp,
        decode=renderer.decode,
        batch=renderer.batch,
        stitch=lambda x_s, x_d: stitch.run(kp_source=_f32(x_s), kp_driving=_f32(x_d))["out"],
        seq_frames=config.audio2motion_cfg["seq_frames"],
    )


def _f32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def _entry(config: PackConfig, name: str) -> Mapping[str, Any]:
    """The configuration of a model; `name` may carry the key of its path behind a dot."""
    return config.audio2motion_cfg if name == "audio2motion_cfg" else config.base_cfg[name.partition(".")[0]]


def load_entry(
    config: PackConfig,
    files: Mapping[str, Path],
    name: str,
    net_name: str = "",
    speed: Speed = Speed(),
    **sizes: Any,
) -> CheckedSession:
    """The session of an entry, whose further keys `device`, `threads`, `fp16` and `sizes` are optional."""
    entry = _entry(config, name)
    light = name in FACE_MODELS or name in PAIR
    share = max(1, (os.cpu_count() or 1) // STAGES_AT_WORK)
    if entry.get("fp16") is False and speed.precision == "auto":
        speed = replace(speed, precision="fp32")
    return load(
        files[name],
        _device(name, files[name], entry, speed),
        net_name=net_name,
        sizes={**sizes, **(entry.get("sizes") or {})},
        threads=entry.get("threads", 1 if light else share),
        speed=speed,
    )


def _device(name: str, path: Path, entry: Mapping[str, Any], speed: Speed) -> str:
    """Where a network runs: as demanded, else as configured.

    The PyTorch stitching network, four small products per frame, stays on the CPU: copies to a GPU and back would take
    longer than its arithmetic.
    """
    if name == "stitch_network_cfg" and path.suffix.lower() in TORCH_SUFFIXES:
        return "cpu"
    return speed.device or entry.get("device") or "auto"


def _network(config: PackConfig, files: Mapping[str, Path], name: str, speed: Speed) -> CheckedSession:
    """One of the five networks around the face, checked."""
    return load_entry(config, files, name, name.removesuffix("_cfg"), speed).require(*SHAPES[name])


def _renderer(sessions: Mapping[str, CheckedSession], speed: Speed) -> Any:
    """The renderer that suits the backend of its three networks."""
    three = [sessions[f"{name}_cfg"] for name in ("appearance_extractor", "warp_network", "decoder")]
    if any(session.path.suffix.lower() not in TORCH_SUFFIXES for session in three):
        return SessionRenderer(*three, speed)
    from core.packs.torch_renderer import TorchRenderer

    renderer = TorchRenderer(*three)
    renderer.warm_up()
    return renderer


def audio_encoder(config: PackConfig, files: Mapping[str, Path], speed: Speed) -> AudioEncoder:
    """The speech features that `w2f_type` names."""
    if config.audio2motion_cfg["w2f_type"] == "hubert":
        return Wav2Feat(HubertStreaming(load_entry(config, files, "hubert_cfg", speed=speed)))
    name = "wavlm_cfg"
    if files[name].suffix.lower() not in TORCH_SUFFIXES:
        return WavLm(load_entry(config, files, name, speed=speed))
    from core.aux_models.wavlm_torch import load_wavlm

    entry = _entry(config, name)
    return WavLm(load_wavlm(files[name], _device(name, files[name], entry, speed), entry.get("sizes")))


def _motion_model(config: PackConfig, files: Mapping[str, Path], speed: Speed) -> Any:
    """The denoiser, as MotionDiffusion takes it."""
    flags, name = config.audio2motion_cfg, "audio2motion_cfg"
    sizes = {"frames": flags["seq_frames"], "motion": flags["motion_feat_dim"], "cond": flags["audio_feat_dim"]}
    if sizes["motion"] != MOTION_DIM:
        raise PackError(f"audio2motion_cfg: motion_feat_dim is {sizes['motion']}; motion has {MOTION_DIM} values")
    session = load_entry(config, files, name, "lmdm", speed, **sizes)
    clip = (1, sizes["frames"])
    motion = (*clip, MOTION_DIM)
    session.require(
        {"x": motion, "cond_frame": (1, MOTION_DIM), "cond": (*clip, sizes["cond"]), "time_cond": (1,)},
        {"pred_noise": motion, "x_start": motion},
    )
    if files[name].suffix.lower() not in TORCH_SUFFIXES:
        return OneStepModel(session.run)
    from core.packs.lmdm_runner import LmdmRunner

    return LmdmRunner(session.network, speed)


def _analyser(
    config: PackConfig, files: Mapping[str, Path], motion: CheckedSession, renderer: Any, speed: Speed
) -> OfficialAnalyser:
    detector, rough, fine = (load_entry(config, files, name, speed=speed) for name in FACE_MODELS)
    if TASK in files:
        eyes = MediaPipe478(files[TASK])
    else:
        blaze, mesh = (load_entry(config, files, name, speed=speed) for name in PAIR)
        blaze.require(outputs=("regressors", "classificators"))
        eyes = Landmark478(BlazeFace(blaze), FaceMesh256(mesh))
    return OfficialAnalyser(
        ScrfdDetector(detector),
        Landmark106(rough),
        Landmark203(fine),
        eyes,
        motion_extractor=lambda image: motion.run(image=image),
        appearance_extractor=renderer.appearance,
    )
