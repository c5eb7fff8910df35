"""Streaming HuBERT: samples -> feature rows at 50 Hz (spec models.md 12.5). How a clip is cut: `Wav2Feat`."""

from __future__ import annotations

import numpy as np

from core.aux_models.session import run_single, shaped
from core.backends.session import Session
from core.errors import InputError
from core.utils.audio_chunks import FEATURE_DIM

MIN_SAMPLES = 400  # the receptive field of one row


class HubertStreaming:
    """The encoder of one window. Calls are independent of each other."""

    def __init__(self, session: Session):
        self._session = session

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """(1, n) float32 samples at 16 kHz, not normalised, -> ((n - 400) // 320 + 1, 1024) float32.

        Raises InputError when there are less than 400 samples.
        """
        if samples.ndim != 2 or len(samples) != 1 or samples.shape[1] < MIN_SAMPLES:
            raise InputError(f"HuBERT takes (1, n) samples with n >= {MIN_SAMPLES}, found {list(samples.shape)}")
        out = run_single(self._session, np.ascontiguousarray(samples, np.float32))
        return shaped(self._session, next(iter(out.values())), FEATURE_DIM)
