"""One static square around the face of a clip, cut out as a 512 x 512 video (spec training.md 4.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from core.interfaces import FaceAnalyser
from core.media import VideoReader, VideoWriter
from core.utils.crop import CROP_SIZE, oriented_square
from prepare_data.face_tracks import FaceTrack, follow, refuse_jumps
from prepare_data.sound import IN_STEP, read_sound, sound_lag, write_wav


@dataclass(frozen=True)
class CropResult:
    """What was cut: rect x0, y0, x1, y1 in pixels of the source (it may leave the frame), faces on the first frame."""

    rect: tuple[int, int, int, int]
    frames: int
    faces: int
    lost: int


def track_source(frames: Iterable[np.ndarray], analyser: FaceAnalyser) -> tuple[FaceTrack, int]:
    """Landmarks of the largest face, followed through the source, and how many faces the first frame with any shows."""
    counts: list[int] = []

    def first(frame: np.ndarray) -> np.ndarray | None:
        faces, _ = analyser.find(frame)
        if faces:
            counts.append(len(faces))
        return faces[0].landmarks if faces else None

    def following(frame: np.ndarray, previous: np.ndarray) -> np.ndarray | None:
        face = analyser.track(frame, previous)
        return None if face is None else face.landmarks

    track = follow(frames, first, following)
    return track, counts[0] if counts else 0


def mean_box(track: FaceTrack, analyser: FaceAnalyser, scale: float, vy_ratio: float) -> np.ndarray:
    """(4,) mean over frames of the upright square of `scale` around the face, x0, y0, x1, y1."""
    boxes = []
    for points in track.points:
        square = oriented_square(points[:, :2], scale, 0.0, vy_ratio, enclosed=analyser.crop_points(points))
        half = square.side / 2
        boxes.append(np.concatenate([square.centre - half, square.centre + half]))
    return np.mean(boxes, axis=0)


def square_rect(box: np.ndarray) -> tuple[int, int, int, int]:
    """Whole-pixel square from the width of `box` (4,) around its centre; halves go to the even number."""
    x0, y0, x1, y1 = (float(value) for value in box)
    cx, cy, half = round((x0 + x1) / 2), round((y0 + y1) / 2), round((x1 - x0) / 2)
    return cx - half, cy - half, cx + half, cy + half


def cut(frame: np.ndarray, rect: tuple[int, int, int, int], border: int) -> np.ndarray:
    """(512, 512, 3) uint8: the square `rect` of a frame; `border` is OpenCV's mode for what lies outside."""
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = rect
    inside = frame[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if not inside.size:
        raise InputError("the face lies outside the picture")
    pads = (max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0))
    if any(pads):
        inside = cv2.copyMakeBorder(inside, *pads, border)
    method = cv2.INTER_AREA if inside.shape[0] > CROP_SIZE else cv2.INTER_CUBIC
    return cv2.resize(inside, (CROP_SIZE, CROP_SIZE), interpolation=method)


def crop_video(
    source: str | Path, out: Path, analyser: FaceAnalyser, scale: float, vy_ratio: float, max_gap: int, crf: int
) -> CropResult:
    """Track the face in `source` and write the cropped video with its sound to `out`, at 25 fps.

    Raises InputError for a video that cannot be read, shows no face, loses it for more than `max_gap` frames or cuts
    to another one.
    """
    reader = VideoReader(source, max_size=0)
    track, faces = track_source(reader, analyser)
    whole = track.filled(max_gap)
    refuse_jumps(track)
    rect = square_rect(mean_box(whole, analyser, scale, vy_ratio))
    if rect[2] - rect[0] < 2:
        raise InputError("the face is too small")
    with_sound = _sound_file(source, out)
    writer = VideoWriter(out, (CROP_SIZE, CROP_SIZE), crf=crf, audio=with_sound, tag=False)
    try:
        for frame in reader:
            writer.write(cut(frame, rect, analyser.border))
        writer.close()
    except BaseException:
        writer.abort()
        raise
    return CropResult(rect, len(track), faces, int((~track.found).sum()))


def _sound_file(source: str | Path, out: Path) -> str | Path:
    """The source itself, or its sound shifted into step with the pictures, in a file beside `out`."""
    if abs(sound_lag(source)) < IN_STEP:
        return source
    path = out.with_suffix(".wav")
    write_wav(path, read_sound(source))
    return path
