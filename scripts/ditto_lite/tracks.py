"""Tracked training clips for the embedded pack: face meshes, speech features, and canonical lip expressions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.lite.face_tracker import FaceTracker
from core.lite.motion_space import (
    LIP_SLOTS,
    LOWER_LIP,
    MIRROR_SLOTS,
    UPPER_LIP,
    FaceSpace,
    angles_from_rotation,
    mouth_width,
    unpose,
)
from core.lite.speech_encoder import SpeechEncoder
from core.media import VideoReader, read_audio

MAX_YAW = 40.0  # degrees; beyond it the far half of the mesh is a guess
MAX_EXP, MAX_GAP = 0.4, 0.35  # canonical units; larger is a tracking accident
ENERGY = 384  # feature column
log = logging.getLogger(__name__)


@dataclass
class Track:
    """One clip: mesh (n, 478, 3) pixels, found (n,) bool, features (n, 385) of the whole recording and of a stream."""

    name: str
    mesh: np.ndarray
    found: np.ndarray
    features: np.ndarray
    live: np.ndarray

    @property
    def person(self) -> str:
        """Person id: the clip's name without its number."""
        return self.name.rsplit("_", 1)[0]


@dataclass
class Talk:
    """One clip in the motion space.

    Attributes:
        features: (n, 385) of the whole recording. live: the same as a stream gives them.
        exp: (n, 21, 3) symmetrised canonical expression, absolute with respect to the closed mouth; lip slots only.
        speaking: (n,) bool, face well seen and speech heard.
        angles: (n, 3) degrees.
        width: mouth width in canonical units.
    """

    name: str
    person: str
    features: np.ndarray
    live: np.ndarray
    exp: np.ndarray
    speaking: np.ndarray
    seen: np.ndarray
    angles: np.ndarray
    width: float

    def opening(self) -> np.ndarray:
        """(n,) lip opening over mouth width."""
        return (self.exp[:, LOWER_LIP, 1] - self.exp[:, UPPER_LIP, 1]) / self.width

    def stretch(self) -> np.ndarray:
        """(n,) change of mouth width over mouth width."""
        return (self.exp[:, 20, 0] - self.exp[:, 19, 0]) / self.width


def load_tracks(clips: list[Path], pack: Path, cache: Path) -> Iterator[Track]:
    """Track every clip of the folders, or read it from the cache. A clip in which no face is found is left out."""
    cache.mkdir(parents=True, exist_ok=True)
    tracker, encoder = FaceTracker.load(pack), SpeechEncoder(pack / "speech_encoder.onnx")
    for clip in sorted(path for folder in clips for path in folder.glob("*.mp4")):
        file = cache / f"{clip.stem}.npz"
        if not file.exists():
            mesh, found = track_clip(clip, tracker)
            audio, stream = read_audio(clip), encoder.stream()
            live = np.concatenate([stream.push(audio), stream.finish()])
            rows = {"features": encoder.extract(audio), "live": live}
            np.savez(file, mesh=mesh, found=found, **{name: row.astype(np.float16) for name, row in rows.items()})
            log.info("%s: %d frames, face in %d", clip.stem, len(found), found.sum())
        with np.load(file, allow_pickle=False) as data:
            count = min(len(data["mesh"]), len(data["features"]))
            if data["found"].any():
                rows = (data[name][:count].astype(np.float32) for name in ("features", "live"))
                yield Track(clip.stem, data["mesh"][:count], data["found"][:count], *rows)


def track_clip(clip: Path, tracker: FaceTracker) -> tuple[np.ndarray, np.ndarray]:
    """Mesh (n, 478, 3) of the largest face followed through a clip, and where it was found (n,)."""
    meshes, found, previous = [], [], None
    for frame in VideoReader(clip):
        if previous is None:
            faces, _ = tracker.static(frame)
            face = faces[0] if faces else None
        else:
            face = tracker.track(frame, previous)
        previous = None if face is None else face.mesh
        found.append(face is not None)
        meshes.append(np.zeros((478, 3), np.float32) if face is None else face.mesh)
    return np.array(meshes), np.array(found)


def symmetrise(keypoints: np.ndarray) -> np.ndarray:
    """Mean of keypoints (n, 21, 3) and their mirror image."""
    return (keypoints + keypoints[:, list(MIRROR_SLOTS)] * np.array([-1, 1, 1], np.float32)) / 2


def to_talk(track: Track, space: FaceSpace) -> Talk | None:
    """Express a track in the motion space, or None when the face is hardly ever seen well."""
    mesh = np.where(track.found[:, None, None], track.mesh, space.canonical)
    scale, rotation, t = space.pose(mesh)
    angles = np.stack(angles_from_rotation(rotation), axis=1)
    seen = track.found & (np.abs(angles[:, 1]) < MAX_YAW)
    if seen.sum() < 25:
        return None
    points = symmetrise(unpose(mesh, scale, rotation, t)[:, space.keypoints])
    neutral = closed_mouth(points[seen], space)
    exp = np.zeros_like(points)
    lip = list(LIP_SLOTS)
    gap = (points - neutral)[:, LOWER_LIP, 1] - (points - neutral)[:, UPPER_LIP, 1]
    seen &= (np.abs(points - neutral).max(axis=(1, 2)) < MAX_EXP) & (gap < MAX_GAP)
    exp[:, lip] = np.where(seen[:, None, None], (points - neutral)[:, lip], 0)
    speaking = seen & speech_mask(track.features[:, ENERGY])
    width = mouth_width(neutral)
    return Talk(track.name, track.person, track.features, track.live, exp, speaking, seen, angles, width)


def closed_mouth(points: np.ndarray, space: FaceSpace) -> np.ndarray:
    """(21, 3) face with the lips together: median of the most closed tenth, the rest of the gap removed."""
    gap = points[:, LOWER_LIP, 1] - points[:, UPPER_LIP, 1]
    neutral = np.median(points[np.argsort(gap)[: max(5, len(gap) // 10)]], axis=0)
    mode = space.modes[0]
    rest = neutral[LOWER_LIP, 1] - neutral[UPPER_LIP, 1]
    return neutral - mode * rest / (mode[LOWER_LIP, 1] - mode[UPPER_LIP, 1])


def speech_mask(energy: np.ndarray, below: float = 2.5) -> np.ndarray:
    """(n,) bool: smoothed log energy within `below` nats of its 90th percentile, pauses widened by two frames."""
    loud = _mean(energy, 3) > np.percentile(energy, 90) - below
    return _mean(loud.astype(np.float32), 5) > 0.5


def _mean(x: np.ndarray, window: int) -> np.ndarray:
    padded = np.pad(x, window // 2, mode="edge")
    return np.convolve(padded, np.full(window, 1 / window), mode="valid")
