"""One video -> its measures, as a flat dictionary of numbers, and the curves behind them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.atomic_components.source2info import Source2Info
from core.errors import InputError
from core.interfaces import Models
from core.lite.face_tracker import FaceTracker
from core.lite.motion_space import RIGID, FaceSpace
from core.media import is_image, read_audio, read_image
from core.packs.pack import EMBEDDED, load_pack
from core.settings.options import CropOptions

from .picture import Looks, Seam
from .signals import BANDS, agreement, band_power, blinks_per_minute, closures, jitter, pauses
from .sync import frame_rms, measure_sync
from .track import Track, track_video

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """`measures`: name -> value; `curves`: name -> (n,) for the plots, those of the truth with the prefix `truth `."""

    measures: dict[str, float]
    curves: dict[str, np.ndarray] = field(default_factory=dict)


class Evaluator:
    """Measures videos with the face and speech models of the embedded pack."""

    def __init__(self) -> None:
        """Raises PackError when the pack is damaged."""
        self._models: Models = load_pack(EMBEDDED)[1]
        self._tracker = FaceTracker.load(EMBEDDED)
        self._space = FaceSpace.load(EMBEDDED / "motion_space.npz")

    def __call__(
        self,
        video: str | Path,
        truth: str | Path | None = None,
        source: str | Path | None = None,
        spans: Sequence[tuple[float, float]] = (),
    ) -> Evaluation:
        """Measure one video.

        Args:
            truth: a real recording of the same speech, to compare the lips with.
            source: the portrait that was animated, for sharpness, colours, face shape and seam.
            spans: (start, end) seconds of sounds that close the lips.

        Raises InputError for files that cannot be used.
        """
        reference, observers = self._watch_source(source, video)
        track = track_video(video, self._tracker, self._space, observers)
        measures = {"seconds": len(track) / 25, "face_found": float(track.found.mean())}
        measures |= self._sound(track, video)
        measures |= self._motion(track)
        if spans:
            measures["closures"] = closures(track.opening, spans)
        for observer in observers:
            measures |= observer.measures()
        if reference is not None:
            measures["shape_drift"] = _shape_drift(track, reference)
        curves = {"opening": track.opening, "width": track.width, "eyes": track.eye_open, "yaw": track.angles[:, 1]}
        curves["pitch"] = track.angles[:, 0]
        if truth is not None:
            self._compare(track, truth, measures, curves)
        return Evaluation(measures, curves)

    def _motion(self, track: Track) -> dict[str, float]:
        measures = {
            "opening_p95": float(np.percentile(track.opening, 95)),
            "blinks_per_minute": blinks_per_minute(track.eye_open),
            "jitter": jitter(track.mesh[:, list(RIGID), :2], track.scale),
        }
        power = band_power(track.angles)
        return measures | {f"head_{low:g}_{high:g}_hz": float(value) for (low, high), value in zip(BANDS, power)}

    def _sound(self, track: Track, video: str | Path) -> dict[str, float]:
        """Offset of the sound and rest of the mouth in pauses; nothing when the video is silent."""
        try:
            rms = frame_rms(read_audio(video))
        except InputError as error:
            LOG.warning("no measures of the sound: %s", error)
            return {}
        sync = measure_sync(track.opening, video, self._models)
        measures = {f"sync_{name}": value for name, value in vars(sync).items()}
        quiet = pauses(rms)[: len(track)]
        if quiet.any():
            measures["rest_opening"] = float(np.mean(np.maximum(track.opening[: len(quiet)][quiet], 0)))
        return measures

    def _compare(self, track: Track, truth: str | Path, measures: dict, curves: dict) -> None:
        real = track_video(truth, self._tracker, self._space)
        for name in ("opening", "width"):
            result = agreement(getattr(track, name), getattr(real, name))
            measures |= {f"{name}_{key}": value for key, value in vars(result).items()}
            curves[f"truth {name}"] = getattr(real, name)
        power, own = band_power(track.angles), band_power(real.angles)
        measures["head_power_ratio"] = float(np.exp(np.mean(np.log((power + 1e-3) / (own + 1e-3)))))

    def _watch_source(self, source: str | Path | None, video: str | Path) -> tuple[np.ndarray | None, tuple]:
        """(upright mesh of the source, observers that compare frames with it)."""
        if source is None:
            return None, ()
        if not is_image(source):
            raise InputError(f"{source}: is no picture; --source takes the portrait that was animated")
        picture = read_image(source, 1920)
        faces, _ = self._models.analyser.find(picture)
        if not faces:
            raise InputError(f"{source}: no face found to compare with")
        info = Source2Info(self._models.analyser, CropOptions())(picture, faces[0])
        mesh = faces[0].landmarks
        return self._space.unpose(mesh[None])[0], (Looks(picture, mesh), Seam(picture, info.M_c2o))


def _shape_drift(track: Track, reference: np.ndarray) -> float:
    """Mean change of the stiff part of the face against the source, percent of the eye distance."""
    rigid = list(RIGID)
    distance = np.linalg.norm(track.upright[:, rigid] - reference[rigid], axis=2)
    return 100 * float(np.median(distance.mean(axis=1)))
