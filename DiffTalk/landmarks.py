"""The usual 68 face landmarks, read off the embedded pack's 478-point mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from core.lite.face_tracker import FaceTracker
from core.packs.pack import EMBEDDED

# mesh vertex of each of the 68: jaw 17, brows 10, nose 9, eyes 12, mouth 20 (annotation of the iBUG 300-W data)
MESH_TO_68 = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 64, 97, 2, 326, 294),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


def to_68(mesh: np.ndarray) -> np.ndarray:
    """Mesh (478, 3) -> landmarks (68, 2) float64 in the same pixels."""
    return mesh[list(MESH_TO_68), :2].astype(np.float64)


def load_tracker(pack: Path = EMBEDDED) -> FaceTracker:
    """The embedded pack's face tracker. Raises PackError."""
    return FaceTracker.load(pack)


def follow(frames: Iterable[np.ndarray], tracker: FaceTracker) -> Iterator[np.ndarray | None]:
    """Landmarks (68, 2) of the largest face, followed through (H, W, 3) uint8 frames; None where it is not seen."""
    mesh = None
    for frame in frames:
        if mesh is None:
            faces, _score = tracker.static(frame)
            face = faces[0] if faces else None
        else:
            face = tracker.track(frame, mesh)
        mesh = None if face is None else face.mesh
        yield None if mesh is None else to_68(mesh)
