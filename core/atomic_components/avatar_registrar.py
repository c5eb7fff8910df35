"""Source file -> Avatar: find the face, crop it, describe it (spec pipeline.md sections 4, 5 and 7)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from core.atomic_components.face_track import FaceTrack
from core.atomic_components.neutral_frame import NeutralState
from core.atomic_components.source_analysis import analyse_picture, analyse_video, check_found
from core.atomic_components.source_clip import Clip, open_clip
from core.avatars.avatar import Avatar
from core.avatars.cache import AvatarCache, record_key
from core.avatars.features import LazyFeatures
from core.avatars.record import AvatarRecord
from core.interfaces import FaceAnalyser
from core.media import spread_colours
from core.motion import FPS
from core.settings.options import CropOptions, SourceOptions

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

    def __call__(
        self,
        source_path: str | Path,
        crop: CropOptions,
        source: SourceOptions,
        n_frames: int = -1,
        rate: Fraction = Fraction(FPS),
    ) -> Avatar:
        """Read and register a picture, a video or a sequence of pictures.

        Args:
            n_frames: frames that will be rendered, where that is known: no more of a video are looked at.
                `source.template_n_frames` goes before.
            rate: frames per second of the result.

        Raises InputError when the file cannot be used, more than a third of its frames show no face, or options are
        for another kind of source.
        """
        path, start = Path(source_path), time.perf_counter()
        limit = source.template_n_frames if source.template_n_frames > 0 else n_frames
        clip = open_clip(path, source, rate)
        record, known = self._record(clip, crop, source, limit)
        record = record.first(limit)
        check_found(record, path)
        avatar = self._avatar(record, clip, source, rate)
        how = "known from before" if known else "analysed"
        LOG.info("%s: %d source frames, %s, in %.2f s", path, len(avatar), how, time.perf_counter() - start)
        return avatar

    def _record(self, clip: Clip, crop: CropOptions, source: SourceOptions, limit: int) -> tuple[AvatarRecord, bool]:
        """What is known of the source, and whether that was so before."""
        use_cache = source.cache and bool(self._pack)
        key = record_key(clip.files, self._pack, crop, **clip.reading) if use_cache else ""
        record = self._cache.load(key) if use_cache else None
        if record is not None and record.enough_for(limit):
            return record, True
        if clip.picture is not None:
            record = analyse_picture(FaceTrack(self._analyser, crop, clip.path), clip.picture)
        else:
            track = FaceTrack(self._analyser, crop, clip.path, self._analyser.steady_crop)
            record = analyse_video(track, clip.reader, limit)
        if use_cache:
            self._cache.store(key, record)
        return record, False

    def _avatar(self, record: AvatarRecord, clip: Clip, source: SourceOptions, rate: Fraction) -> Avatar:
        rows, is_image = record.spread(), clip.picture is not None
        frames, alpha = clip.frames(record), None
        if source.alpha:
            alpha = clip.alpha(frames)
            frames = [spread_colours(frames[0], alpha[0])] if is_image else frames
        motion = rows.as_motion() if is_image else self._analyser.settle(rows.as_motion())
        rest = NeutralState.choose(record, motion, source, is_image)
        return Avatar(
            frames=frames,
            M_c2o=rows.M_c2o,
            motion=motion if is_image or source.motion_legacy else motion.smoothed(source.smo_k_s),
            features=LazyFeatures(self._analyser, frames, rows.M_c2o, rows.mesh, record.shown),
            eye_open=rows.eye_open,
            eye_ball=rows.eye_ball,
            sc=rest.sc,
            is_image=is_image,
            delta_eye_arr=None if self._blink_array is None else self._blink_array(rest.sc.reshape(-1, 3)),
            mesh=rows.mesh,
            loop="mirror" if is_image else source.loop,
            rate=rate,
            reference=rest.frame,
            start=rest.start,
            lips=rest.lips,
            alpha=alpha,
            path=clip.path,
        )
