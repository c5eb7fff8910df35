"""Source file -> Avatar: find the face, crop it, describe it (spec pipeline.md sections 4, 5 and 7)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from core.atomic_components.face_track import FaceTrack
from core.atomic_components.source2info import FaceAnalyser
from core.atomic_components.source_analysis import analyse_picture, analyse_video, check_found
from core.avatar import Avatar
from core.avatar_cache import AvatarCache, record_key
from core.avatar_features import LazyFeatures
from core.avatar_record import AvatarRecord
from core.config import SourceOptions
from core.errors import InputError
from core.media import VideoFrames, VideoReader, is_image, is_video, read_image
from core.motion import FPS
from core.options import CropOptions

LOG = logging.getLogger(__name__)


class AvatarRegistrar:
    """Registers sources with the face models of one pack."""

    def __init__(
        self,
        analyser: FaceAnalyser,
        blink_array: Callable[[np.ndarray], np.ndarray] | None = None,
        pack: str = "",
        cache: AvatarCache | None = None,
    ):
        """Prepare.

        Args:
            blink_array: canonical keypoints (21, 3) -> (m, 63) blink offsets made for that face.
            pack: what tells the analyser's models from others; without it nothing is kept on disk.
            cache: where registrations are kept; None: in the user's own folder.
        """
        self._analyser = analyser
        self._blink_array = blink_array
        self._pack = pack
        self._cache = AvatarCache() if cache is None else cache

    def __call__(self, source_path: str | Path, crop: CropOptions, source: SourceOptions, n_frames: int = -1) -> Avatar:
        """Read and register a picture or a video.

        Args:
            n_frames: frames that will be rendered, where that is known: no more of a video are looked at.
                `source.template_n_frames` goes before.

        Raises InputError when the file cannot be used or more than a third of its frames show no face.
        """
        path, start = Path(source_path), time.perf_counter()
        limit = source.template_n_frames if source.template_n_frames > 0 else n_frames
        picture = read_image(path, source.max_size) if is_image(path) else None
        if picture is None and not is_video(path):
            raise InputError(
                f"{path}: not a picture or video that can be read; use JPEG, PNG, WebP, MP4, MOV, MKV or WebM"
            )
        use_cache = source.cache and bool(self._pack)
        reading = {"max_size": source.max_size, "resample": source.resample, "video": picture is None}
        key = record_key(path, self._pack, crop, **reading) if use_cache else ""
        record = self._cache.load(key) if use_cache else None
        known = record is not None and record.enough_for(limit)
        if not known:
            record = self._analyse(path, picture, crop, source, limit)
            if use_cache:
                self._cache.store(key, record)
        record = record.first(limit)
        check_found(record, path)
        frames = VideoFrames(path, record.pts, record.shown, source.max_size) if picture is None else [picture]
        avatar = self._avatar(record, frames, picture is not None, source.smo_k_s)
        how = "known from before" if known else "analysed"
        LOG.info("%s: %d source frames, %s, in %.2f s", path, len(avatar), how, time.perf_counter() - start)
        return avatar

    def _analyse(
        self, path: Path, picture: np.ndarray | None, crop: CropOptions, source: SourceOptions, limit: int
    ) -> AvatarRecord:
        if picture is not None:
            return analyse_picture(FaceTrack(self._analyser, crop, path), picture)
        reader = VideoReader(path, source.max_size, FPS if source.resample else None)
        return analyse_video(FaceTrack(self._analyser, crop, path, self._analyser.steady_crop), reader, limit)

    def _avatar(self, record: AvatarRecord, frames: Sequence[np.ndarray], is_image: bool, smo_k_s: int) -> Avatar:
        rows = record.spread()
        motion = rows.as_motion() if is_image else self._analyser.settle(rows.as_motion())
        kp = motion.kp[0].copy()
        return Avatar(
            frames=frames,
            M_c2o=rows.M_c2o,
            motion=motion if is_image else motion.smoothed(smo_k_s),
            features=LazyFeatures(self._analyser, frames, rows.M_c2o, rows.mesh, record.shown),
            eye_open=rows.eye_open,
            eye_ball=rows.eye_ball,
            sc=kp,
            is_image=is_image,
            delta_eye_arr=None if self._blink_array is None else self._blink_array(kp.reshape(-1, 3)),
            mesh=rows.mesh,
        )
