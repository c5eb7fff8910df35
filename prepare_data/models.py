"""A model pack as the preparation sees it: each model is loaded when a step first asks for it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import PackError
from core.interfaces import AudioEncoder, FaceAnalyser
from core.packs.pack import Pack, best_pack, find_pack, open_pack
from core.settings.speed import Speed
from core.utils.picture import to_blob
from prepare_data.face_tracks import FaceTrack, follow
from prepare_data.motion_format import to_rows

NETWORK_SIZE = 256
_HEAD = 1 << 20  # bytes of a model file that its fingerprint looks at
FACE, SPEECH, MOTION, EYES = "face", "speech", "motion", "eyes"  # what a step may need of a pack
_OFFICIAL_FILES = {
    FACE: ("insightface_det_cfg", "landmark106_cfg", "landmark203_cfg"),
    SPEECH: ("hubert_cfg", "wavlm_cfg"),
    MOTION: ("motion_extractor_cfg",),
    EYES: ("landmark478_cfg",),
}
_MESH = ("face_detector_cfg", "face_mesh_cfg")
_LITE_FILES = {FACE: _MESH, SPEECH: ("speech_encoder_cfg",), MOTION: (*_MESH, "motion_space_cfg"), EYES: _MESH}


Frames = Callable[[], Iterable[np.ndarray]]  # starts a new pass over the frames of a crop


def open_models(data_root: str, cfg_pkl: str | None, device: str, fp16: bool, threads: int) -> PackModels:
    """Read a pack's configuration; "auto" is the best pack that is there. Raises PackError when it is incomplete."""
    pack = best_pack(cfg_pkl, {}) if data_root == "auto" else open_pack(find_pack(data_root), cfg_pkl, {})
    return LiteModels(pack) if pack.embedded else OfficialModels(pack, device, fp16, threads)


class PackModels:
    """What all packs have in common."""

    files_of: Mapping[str, tuple[str, ...]]  # part -> entries of the configuration that it is made from
    analyser: FaceAnalyser
    audio: AudioEncoder

    def __init__(self, pack: Pack):
        self.pack = pack

    def fingerprint(self, part: str) -> str:
        """Changes when a model file of `part` does; the files' place does not matter."""
        entries = self.files_of[part]
        paths = [path for name, path in sorted(self.pack.files.items()) if name.partition(".")[0] in entries]
        return "-".join(_file_mark(path) for path in paths)

    def meshes(self, frames: Iterable[np.ndarray]) -> FaceTrack:
        """478 landmarks of each (512, 512, 3) uint8 RGB frame, in pixels."""
        raise NotImplementedError

    def motion(self, frames: Frames, track: Callable[[], FaceTrack], gap: int) -> np.ndarray:
        """(n, 328) motion from what it needs of the two: the crop's frames, or the face in all of them."""
        raise NotImplementedError


class LiteModels(PackModels):
    """The embedded pack: everything about the face is read off its mesh."""

    files_of = _LITE_FILES

    @cached_property
    def _tracker(self) -> Any:
        from core.lite.face_detector import FaceDetector
        from core.lite.face_mesh import FaceMesh
        from core.lite.face_tracker import FaceTracker

        detector, mesh = (self.pack.files[name] for name in _MESH)
        return FaceTracker(FaceDetector(detector), FaceMesh(mesh))

    @cached_property
    def _space(self) -> Any:
        from core.lite.motion_space import FaceSpace

        return FaceSpace.load(self.pack.files["motion_space_cfg"])

    @cached_property
    def analyser(self) -> FaceAnalyser:
        from core.lite.analyser import MeshAnalyser

        return MeshAnalyser(self._tracker, self._space)

    @cached_property
    def audio(self) -> AudioEncoder:
        from core.lite.speech_encoder import SpeechEncoder

        return SpeechEncoder(self.pack.files["speech_encoder_cfg"])

    def meshes(self, frames: Iterable[np.ndarray]) -> FaceTrack:
        """See PackModels; the face is followed from frame to frame."""

        def first(frame: np.ndarray) -> np.ndarray | None:
            faces, _ = self._tracker.static(frame)
            return faces[0].mesh if faces else None

        def following(frame: np.ndarray, previous: np.ndarray) -> np.ndarray | None:
            face = self._tracker.track(frame, previous)
            return None if face is None else face.mesh

        return follow(frames, first, following)

    def motion(self, frames: Frames, track: Callable[[], FaceTrack], gap: int) -> np.ndarray:
        """See PackModels."""
        from prepare_data.lite_motion import clip_motion

        return clip_motion(track(), self._space, gap)


class OfficialModels(PackModels):
    """The official packs: networks for every part, each frame for itself."""

    files_of = _OFFICIAL_FILES

    def __init__(self, pack: Pack, device: str, fp16: bool, threads: int):
        super().__init__(pack)
        entries = {name: {"threads": threads, **entry} for name, entry in pack.config.base_cfg.items()}
        self._config = replace(pack.config, base_cfg=entries)
        self._speed = Speed(None if device == "auto" else device, "auto" if fp16 else "fp32", cuda_graphs=False)

    def _load(self, name: str) -> Any:
        from core.packs.official import load_entry

        return load_entry(self._config, self.pack.files, name, name.removesuffix("_cfg"), self._speed)

    @cached_property
    def analyser(self) -> FaceAnalyser:
        from core.aux_models.analyser import OfficialAnalyser
        from core.aux_models.landmark106 import Landmark106
        from core.aux_models.landmark203 import Landmark203
        from core.aux_models.scrfd_detector import ScrfdDetector

        detector, rough, fine = (self._load(name) for name in _OFFICIAL_FILES[FACE])
        unused = _refuse  # faces are only found and followed here
        return OfficialAnalyser(
            ScrfdDetector(detector), Landmark106(rough), Landmark203(fine), unused, unused, appearance_extractor=unused
        )

    @cached_property
    def audio(self) -> AudioEncoder:
        from core.packs.official import audio_encoder

        return audio_encoder(self._config, self.pack.files, self._speed)

    @cached_property
    def _landmark478(self) -> Callable[[np.ndarray], np.ndarray | None]:
        from core.aux_models.landmark478 import BlazeFace, FaceMesh256, Landmark478, MediaPipe478

        task = self.pack.files.get("landmark478_cfg.task_path")
        if task is not None:
            return MediaPipe478(task)
        names = ("blaze_face_model_path", "face_mesh_model_path")
        blaze, mesh = (self._load(f"landmark478_cfg.{name}") for name in names)
        return Landmark478(BlazeFace(blaze), FaceMesh256(mesh))

    @cached_property
    def _motion_extractor(self) -> Any:
        from core.packs.official import SHAPES

        return self._load("motion_extractor_cfg").require(*SHAPES["motion_extractor_cfg"])

    def meshes(self, frames: Iterable[np.ndarray]) -> FaceTrack:
        """See PackModels."""

        def find(frame: np.ndarray, _: np.ndarray | None = None) -> np.ndarray | None:
            points = self._landmark478(frame)
            return None if points is None else points * np.array([frame.shape[1], frame.shape[0], frame.shape[1]])

        return follow(frames, find, find)

    def motion(self, frames: Frames, track: Callable[[], FaceTrack], gap: int) -> np.ndarray:
        """See PackModels."""
        size = (NETWORK_SIZE, NETWORK_SIZE)
        run = self._motion_extractor.run
        small = (cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in frames())
        return to_rows([run(image=to_blob(image, 1 / 255)) for image in small])


def _refuse(*_: Any) -> Any:
    raise PackError("the preparation uses this model only for finding faces")


def _file_mark(path: Path) -> str:
    with open(path, "rb") as file:
        return f"{path.stat().st_size:x}.{zlib.crc32(file.read(_HEAD)):08x}"
