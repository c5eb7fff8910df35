"""What all frames of a video share: teeth that change from frame to frame flicker, and cost more than the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.lite.interior import Interior, measure_mouth, mouth_opening, visible_teeth
from core.lite.softness import measure_softness

SPAN = 250  # first frames of a video that are searched: 10 s, so that starting does not wait for its end
TRIED = 3  # frames whose picture is looked at
APART = 6  # frames between them
OPENING = (0.22, 0.08)  # mouth widths: the best opening to see the teeth, and how far off is still fair
TURN = 0.5  # log ratio of the halves of the mouth in a head that is turned too far


@dataclass(frozen=True)
class VideoLook:
    """`softness` of the video's face, see `measure_softness`; `interior` of the mouth, from one of its frames."""

    softness: float
    interior: Interior

    @classmethod
    def find(cls, meshes: np.ndarray, crop_of: Callable[[int], np.ndarray]) -> VideoLook:
        """Take the look from the frame that shows the teeth best.

        Args:
            meshes: (n, 478, 3) in crop pixels.
            crop_of: number of a frame -> its crop (512, 512, 3) uint8.
        """
        tried = [(crop_of(i), meshes[i].astype(np.float64)) for i in open_mouths(meshes[:SPAN])]
        crop, mesh = max(tried, key=lambda picture: visible_teeth(*picture) * _opening(picture[1]))
        softness = measure_softness(crop, mesh)
        return cls(softness, Interior.build(crop, mesh, measure_mouth(mesh), softness))


def open_mouths(meshes: np.ndarray) -> list[int]:
    """Up to TRIED frames, rising, that should show the inside of the mouth: well open, seen from the front."""
    scores = np.array([_score(mesh) for mesh in meshes])
    chosen: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if len(chosen) < TRIED and all(abs(int(i) - other) >= APART for other in chosen):
            chosen.append(int(i))
    return sorted(chosen)


def _opening(mesh: np.ndarray) -> float:
    return mouth_opening(mesh, measure_mouth(mesh))


def _score(mesh: np.ndarray) -> float:
    frame = measure_mouth(mesh)
    best, fair = OPENING
    return -(((_opening(mesh) - best) / fair) ** 2) - (np.log(frame.left / frame.right) / TURN) ** 2
