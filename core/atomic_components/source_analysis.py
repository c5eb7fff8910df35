"""A picture or a video -> what is known of its frames (spec pipeline.md sections 4 and 5)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from core.atomic_components.face_track import FaceTrack
from core.atomic_components.source2info import SourceInfo
from core.avatars.record import AvatarRecord
from core.errors import InputError
from core.media import PictureSequence, VideoReader
from core.motion import KP_DIM, MOTION_DIM
from core.pipeline import Pipeline, Stage

LOG = logging.getLogger(__name__)
MAX_LOST = 1 / 3  # share of a video's frames that may show no face


def analyse_picture(track: FaceTrack, frame: np.ndarray) -> AvatarRecord:
    """Describe the face of a picture, (H, W, 3) uint8 RGB. Raises InputError when there is none."""
    info = track(frame)
    if info is None:
        raise track.failure()
    return make_record([info], [0], [1], complete=True)


def analyse_video(track: FaceTrack, reader: VideoReader | PictureSequence, limit: int = -1) -> AvatarRecord:
    """Follow the face through a video, or through the part that makes up its first `limit` output frames.

    One thread decodes while another looks at the frames. Raises InputError when no frame shows a face.
    """
    infos: list[SourceInfo | None] = []
    pts: list[int] = []
    times: list[int] = []
    ended: list[bool] = []

    def decode(_: bool) -> Iterator[tuple[int, int, np.ndarray]]:
        count = 0
        for item in reader.pictures():
            yield item
            count += item[1]
            if 0 < limit <= count:
                return
        ended.append(True)

    def look(item: tuple[int, int, np.ndarray]) -> None:
        pts.append(item[0])
        times.append(item[1])
        infos.append(track(item[2]))

    with Pipeline([Stage("decode source", decode), Stage("track face", look)]) as pipeline:
        pipeline.put(True)
    if all(info is None for info in infos):
        raise track.failure(sum(times))
    return make_record(infos, pts, times, complete=bool(ended))


def make_record(
    infos: Sequence[SourceInfo | None], pts: Sequence[int], times: Sequence[int], complete: bool
) -> AvatarRecord:
    """Stack the descriptions of m frames, None where the face was lost; `times`: output frames that show each."""
    m = len(infos)
    record = AvatarRecord(
        shown=np.repeat(np.arange(m, dtype=np.int32), times),
        pts=np.array(pts, np.int64),
        found=np.array([info is not None for info in infos]),
        motion=np.zeros((m, MOTION_DIM + KP_DIM), np.float32),
        M_c2o=np.zeros((m, 3, 3), np.float32),
        eye_open=np.zeros((m, 2), np.float32),
        eye_ball=np.zeros((m, 6), np.float32),
        mesh=np.zeros((m, 478, 3), np.float32),
        sharpness=np.zeros(m, np.float32),
        complete=np.array(complete),
    )
    for i, info in enumerate(infos):
        if info is not None:
            record.motion[i] = np.concatenate([info.motion.data[0], info.motion.kp[0]])
            record.M_c2o[i], record.mesh[i] = info.M_c2o, info.mesh
            record.eye_open[i], record.eye_ball[i] = info.eye_open, info.eye_ball
            record.sharpness[i] = info.sharpness
    return record


def check_found(record: AvatarRecord, source: str | Path) -> None:
    """Warn of frames without a face. Raises InputError when they are more than a third."""
    there = record.found[record.shown]
    lost, total = int((~there).sum()), len(there)
    if not lost:
        return
    what = f"{source}: no face in {lost} of {total} frames (the first is frame {int(np.argmin(there))})"
    if lost > MAX_LOST * total:
        raise InputError(f"{what}, more than a third; use a video that shows the face throughout, or cut it")
    LOG.warning("%s; the motion there is interpolated", what)
