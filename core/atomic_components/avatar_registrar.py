"""Source file -> Avatar: find the face, crop it, describe it (spec pipeline.md sections 4, 5 and 7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core.atomic_components.source2info import FaceAnalyser, FoundFace, Source2Info
from core.avatar import Avatar
from core.errors import InputError
from core.media import is_video, read_image
from core.options import CropOptions

LOG = logging.getLogger(__name__)


class AvatarRegistrar:
    """Registers sources with the face models of one pack."""

    def __init__(self, analyser: FaceAnalyser, blink_array: Callable[[np.ndarray], np.ndarray] | None = None):
        """blink_array: canonical keypoints (21, 3) -> (m, 63) blink offsets made for that face."""
        self._analyser = analyser
        self._blink_array = blink_array

    def __call__(self, source_path: str | Path, crop: CropOptions, max_size: int) -> Avatar:
        """Read and register a portrait.

        Raises InputError when the file cannot be used or shows no face.
        """
        if is_video(source_path):
            raise InputError(f"{source_path}: is a video; this version animates pictures, give one frame of it")
        frame = read_image(source_path, max_size)
        info = Source2Info(self._analyser, crop)(frame, self._largest_face(frame, source_path))
        kp = info.motion.kp[0]
        return Avatar(
            frames=[frame],
            M_c2o=info.M_c2o[None],
            motion=info.motion,
            features=[info.feature],
            eye_open=info.eye_open[None],
            eye_ball=info.eye_ball[None],
            sc=kp.copy(),
            delta_eye_arr=None if self._blink_array is None else self._blink_array(kp.reshape(-1, 3)),
        )

    def _largest_face(self, frame: np.ndarray, source_path: str | Path) -> FoundFace:
        faces, best = self._analyser.find(frame)
        if not faces:
            raise InputError(
                f"{source_path}: no face found (best score {best:.2f}, needed {self._analyser.min_score:.2f}); "
                "use a picture that shows a face from the front"
            )
        if len(faces) > 1:
            LOG.warning("%s shows %d faces; the largest one is used", source_path, len(faces))
        return faces[0]
