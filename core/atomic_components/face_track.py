"""One face through the frames of a source (spec pipeline.md section 5)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from core.atomic_components.source2info import Source2Info, SourceInfo
from core.errors import InputError
from core.interfaces import FaceAnalyser, FoundFace
from core.settings.options import CropOptions
from core.utils.tracking import SteadySquare

LOG = logging.getLogger(__name__)


class FaceTrack:
    """Finds the largest face of the first frame that shows one, and follows it. Frames come in order."""

    def __init__(self, analyser: FaceAnalyser, crop: CropOptions, source: str | Path, steady: bool = False):
        """steady: the crop may rest while the face moves little."""
        self._analyser, self._source = analyser, source
        self._describe = Source2Info(analyser, crop, SteadySquare() if steady else None)
        self._previous: np.ndarray | None = None
        self._best = 0.0  # score of the detector while no face has been found
        self._refusal: InputError | None = None  # why the last found face could not be used

    def __call__(self, frame: np.ndarray) -> SourceInfo | None:
        """What the next frame, (H, W, 3) uint8 RGB, shows; None when the face is not there."""
        face = self._first(frame) if self._previous is None else self._analyser.track(frame, self._previous)
        if face is None:
            return None
        try:
            info = self._describe(frame, face)
        except InputError as error:
            self._refusal = error
            return None
        self._previous = face.landmarks
        return info

    def failure(self, frames: int = 1) -> InputError:
        """The error of a source that has shown no usable face in any of its frames."""
        if self._refusal is not None:
            return InputError(f"{self._source}: {self._refusal}")
        where = f"no face found in any of {frames} frames" if frames > 1 else "no face found"
        scores = f"best score {self._best:.2f}, needed {self._analyser.min_score:.2f}"
        kind = "video" if frames > 1 else "picture"
        return InputError(f"{self._source}: {where} ({scores}); use a {kind} that shows a face from the front")

    def _first(self, frame: np.ndarray) -> FoundFace | None:
        faces, best = self._analyser.find(frame)
        self._best = max(self._best, best)
        if len(faces) > 1:
            LOG.warning("%s shows %d faces; the largest one is used", self._source, len(faces))
        return faces[0] if faces else None
