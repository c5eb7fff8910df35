"""203 landmarks on an upright crop: the ones that place the final crop and are tracked (spec models.md 12.3)."""

from __future__ import annotations

import numpy as np

from core.aux_models.session import run_single, shaped
from core.backends.session import Session
from core.utils.crop import transform_points
from core.utils.picture import check_picture, to_blob

CROP_SIZE = 224
NUM_POINTS = 203
ORIGINAL_OUTPUT = 2  # the landmark output of the original file, which has several


class Landmark203:
    """Landmarks of the face in a crop. Calls are independent of each other."""

    def __init__(self, session: Session):
        self._session = session
        names = list(session.outputs)
        original = "landmarks" not in names and len(names) > ORIGINAL_OUTPUT
        self._output = names[ORIGINAL_OUTPUT] if original else "landmarks" if "landmarks" in names else names[0]

    def __call__(self, crop: np.ndarray, M_c2o: np.ndarray) -> np.ndarray:
        """Points (203, 2) float32 in frame pixels.

        Args:
            crop: (224, 224, 3) uint8 RGB.
            M_c2o: (3, 3), crop pixels -> frame pixels.
        """
        check_picture(crop)
        out = run_single(self._session, to_blob(crop, 1 / 255))[self._output]
        points = shaped(self._session, out, 2, NUM_POINTS) * np.float32(CROP_SIZE)
        return transform_points(points, M_c2o).astype(np.float32)
