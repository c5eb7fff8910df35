"""The steps of the preparation: what each reads, writes and depends on (spec training.md 3 and 4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from core.errors import InputError
from core.media import VideoReader
from core.utils.crop import CROP_SIZE
from core.utils.eyes import eye_state
from prepare_data import emotion, sound
from prepare_data.crop import crop_video
from prepare_data.data_info import SOURCE, Clip, flip_path
from prepare_data.emotion_models import Classifier, EmotionSource, find_source, neutral_scores
from prepare_data.face_tracks import FaceTrack
from prepare_data.files import Staging
from prepare_data.inspect_video import inspect
from prepare_data.models import EYES, FACE, MOTION, SPEECH, PackModels, open_models
from prepare_data.motion_format import COLUMNS, write_pickle
from prepare_data.options import WorkOrder


class Tools:
    """What a worker loads once and uses for all its clips."""

    def __init__(self, order: WorkOrder):
        self.options = order.features
        self._order = order

    @cached_property
    def models(self) -> PackModels:
        """The pack's models."""
        o, order = self.options, self._order
        return open_models(o.data_root, o.cfg_pkl or None, order.device, o.fp16, order.threads)

    @cached_property
    def emotion_source(self) -> EmotionSource:
        """The emotion classifier's name and file."""
        return find_source(self.options.emo_source, self.options.emo_model)

    @cached_property
    def classify(self) -> Classifier | None:
        """The emotion classifier, None for neutral scores."""
        return self.emotion_source.load()


@dataclass
class ClipWork:
    """One clip on its way through the steps; landmarks are kept for the step after."""

    clip: Clip
    tools: Tools
    notes: list[str] = field(default_factory=list)
    _tracks: dict[bool, FaceTrack] = field(default_factory=dict)

    def frames(self, flip: bool = False) -> Iterator[np.ndarray]:
        """Frames of the cropped video, mirrored if asked; (512, 512, 3) uint8 RGB."""
        for frame in VideoReader(self.clip["video_list"], max_size=0):
            if frame.shape[:2] != (CROP_SIZE, CROP_SIZE):
                frame = cv2.resize(frame, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
            yield np.ascontiguousarray(frame[:, ::-1]) if flip else frame

    def track(self, flip: bool = False) -> FaceTrack:
        """478 landmarks of every frame in crop pixels. Raises InputError when the face is lost for too long."""
        if flip not in self._tracks:
            found = self.tools.models.meshes(self.frames(flip))
            self._tracks[flip] = found.filled(self.tools.options.max_gap)
            lost = int((~found.found).sum())
            if lost:
                self.notes.append(f"{lost} of {len(found)} frames without a face, bridged")
        return self._tracks[flip]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        outputs: the clip's files that it writes; with `flip` their `_flip` twins.
        reads: lists that it needs. after: steps whose result it depends on.
        parts: of the pack, by whose files its result changes. settings: fields of FeatureOptions likewise.
    """

    name: str
    outputs: tuple[str, ...]
    reads: tuple[str, ...]
    after: tuple[str, ...]
    parts: tuple[str, ...]
    settings: tuple[str, ...]
    run: Callable[[ClipWork, bool, Callable[[str], Any]], None]
    flip: bool = False

    def targets(self, clip: Clip) -> dict[str, str]:
        """List name -> file that this step writes for a clip."""
        return {name: flip_path(clip[name]) if self.flip else clip[name] for name in self.outputs}

    def options(self, tools: Tools) -> dict[str, Any]:
        """Everything besides the clip that decides the result, for signatures."""
        values = asdict(tools.options)
        chosen = {name: values[name] for name in self.settings}
        chosen.update({f"model:{part}": tools.models.fingerprint(part) for part in self.parts})
        if self.name == "emotion":
            chosen["classifier"] = tools.emotion_source.name
        return chosen

    def perform(self, work: ClipWork) -> dict[str, Any]:
        """Do it. Returns {"outputs": {path: size}, "notes", "seconds"}; raises DittoError."""
        start = time.perf_counter()
        work.notes.clear()
        targets = self.targets(work.clip)
        with Staging() as stage:
            made = {name: stage(path) for name, path in targets.items()}
            self.run(work, self.flip, lambda name: made[name])
            sizes = {targets[name]: path.stat().st_size for name, path in made.items()}
        return {"outputs": sizes, "notes": list(work.notes), "seconds": round(time.perf_counter() - start, 2)}


def run_crop(work: ClipWork, flip: bool, out: Callable[[str], Any]) -> None:
    """Source -> cropped video."""
    o, source = work.tools.options, work.clip[SOURCE]
    facts = inspect(source)
    work.notes += facts.notes
    made = crop_video(
        source, out("video_list"), work.tools.models.analyser, o.crop_scale, o.crop_vy_ratio, o.max_gap, o.crop_crf
    )
    facts.check_decoded(made.frames)
    if made.faces > 1:
        work.notes.append(f"{made.faces} faces; the largest one is followed")
    if made.lost:
        work.notes.append(f"face lost in {made.lost} of {made.frames} frames, bridged")


def run_audio(work: ClipWork, flip: bool, out: Callable[[str], Any]) -> None:
    """Source (or, where there is none, the cropped video) -> 16 kHz mono wav."""
    sound.write_wav(out("wav_list"), sound.read_sound(work.clip.paths.get(SOURCE) or work.clip["video_list"]))


def run_audio_feat(work: ClipWork, flip: bool, out: Callable[[str], Any]) -> None:
    """Wav -> speech features."""
    rows = sound.speech_features(work.tools.models.audio, work.clip["wav_list"])
    np.save(out("hubert_aud_npy_list"), rows)


def run_motion(work: ClipWork, flip: bool, out: Callable[[str], Any]) -> None:
    """Cropped video -> motion as pickle and array."""
    gap = work.tools.options.max_gap
    rows = work.tools.models.motion(lambda: work.frames(flip), lambda: work.track(flip), gap)
    if rows.shape[1] != COLUMNS or not np.isfinite(rows).all():
        raise InputError("the motion is not finite")
    write_pickle(out("LP_pkl_list"), rows)
    np.save(out("LP_npy_list"), rows.astype(np.float32))


def run_eyes(work: ClipWork, flip: bool, out: Callable[[str], Any]) -> None:
    """Cropped video -> landmarks, openness of the eyes, gaze."""
    landmarks = (work.track(flip).points / np.float32(CROP_SIZE)).astype(np.float32)
    states = [eye_state(points) for points in landmarks]
    np.save(out("MP_lmk_npy_list"), landmarks)
    np.save(out("eye_open_npy_list"), np.stack([opening for opening, _ in states]))
    np.save(out("eye_ball_npy_list"), np.stack([gaze for _, gaze in states]).reshape(-1, 3, 2))


def run_mirrored_eyes(work: ClipWork, flip: bool, out: Callable[[str], Any]) -> None:
    """Openness and gaze of the mirrored clip from those of the plain one."""
    arrays = (np.load(work.clip[name], allow_pickle=False) for name in _EYE_STATE)
    for name, array in zip(_EYE_STATE, mirrored_eyes(*arrays)):
        np.save(out(name), array)


def mirrored_eyes(eye_open: np.ndarray, eye_ball: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) and (n, 3, 2): left and right exchanged, x of the gaze negated."""
    return eye_open[:, ::-1], eye_ball[:, :, ::-1] * np.array([-1, 1, 1], np.float32)[:, None]


def run_emotion(work: ClipWork, flip: bool, out: Callable[[str], Any]) -> None:
    """Cropped video and landmarks -> emotion scores."""
    landmarks = np.load(work.clip["MP_lmk_npy_list"], allow_pickle=False)
    classify = work.tools.classify
    if classify is None:
        scores = neutral_scores(len(landmarks))
    else:
        boxes = FaceTrack(landmarks * np.float32(CROP_SIZE), np.ones(len(landmarks), bool)).boxes()
        scores = emotion.clip_scores(work.frames(), boxes, classify)
    np.save(out("emo_npy_list"), scores.astype(np.float32))


_EYE_STATE = ("eye_open_npy_list", "eye_ball_npy_list")
_EYES = ("MP_lmk_npy_list", *_EYE_STATE)
_LP = ("LP_pkl_list", "LP_npy_list")
_CROP, _GAP = ("crop_scale", "crop_vy_ratio", "crop_crf", "max_gap"), ("max_gap",)
_VIDEO, _AFTER_CROP = ("video_list",), ("crop",)
STEPS = {
    step.name: step
    for step in (
        Step("crop", _VIDEO, (SOURCE,), (), (FACE,), _CROP, run_crop),
        Step("audio", ("wav_list",), (), (), (), (), run_audio),
        Step("audio_feat", ("hubert_aud_npy_list",), ("wav_list",), ("audio",), (SPEECH,), ("fp16",), run_audio_feat),
        Step("motion", _LP, _VIDEO, _AFTER_CROP, (MOTION,), ("max_gap", "fp16"), run_motion),
        Step("eyes", _EYES, _VIDEO, _AFTER_CROP, (EYES,), _GAP, run_eyes),
        Step("motion_flip", _LP, _VIDEO, _AFTER_CROP, (MOTION,), ("max_gap", "fp16"), run_motion, flip=True),
        Step("eyes_flip", _EYES, _VIDEO, _AFTER_CROP, (EYES,), _GAP, run_eyes, flip=True),
        Step("eyes_mirrored", _EYE_STATE, _EYE_STATE, ("eyes",), (), (), run_mirrored_eyes, flip=True),
        Step("emotion", ("emo_npy_list",), (*_VIDEO, "MP_lmk_npy_list"), ("crop", "eyes"), (), (), run_emotion),
    )
}
