"""Builds the embedded pack from its folder (spec lite.md)."""

from __future__ import annotations

from pathlib import Path

from core.interfaces import Models
from core.lite.analyser import MeshAnalyser
from core.lite.decode import LiteDecoder
from core.lite.face_detector import FaceDetector
from core.lite.face_mesh import FaceMesh
from core.lite.face_tracker import FaceTracker
from core.lite.matte import move_alpha
from core.lite.motion_model import MotionModel, blink_intervals
from core.lite.motion_space import FaceSpace, blink_array
from core.lite.speech_encoder import SpeechEncoder
from core.lite.warp import LiteWarp
from core.motion import MotionSpace
from core.settings.options import PackConfig


def build(config: PackConfig, files: dict[str, Path]) -> Models:
    """Load every model of the pack.

    Args:
        config: the pack's configuration.
        files: model file of each `base_cfg` entry and of `audio2motion_cfg`, all present.

    Raises PackError when a file is damaged.
    """
    space = FaceSpace.load(files["motion_space_cfg"])
    tracker = FaceTracker(FaceDetector(files["face_detector_cfg"]), FaceMesh(files["face_mesh_cfg"]))
    return Models(
        analyser=MeshAnalyser(tracker, space),
        audio=SpeechEncoder(files["speech_encoder_cfg"]),
        motion=MotionModel(files["audio2motion_cfg"], space),
        warp=LiteWarp(space.dense),
        decode=LiteDecoder(),
        move_alpha=move_alpha,
        space=MotionSpace.from_config(config.motion_space),
        blink_array=blink_array,
        blink_intervals=blink_intervals,
        seq_frames=config.audio2motion_cfg["seq_frames"],
    )
