"""Audio -> one feature vector per video frame, with the streaming HuBERT of the official packs (spec pipeline.md 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from core.errors import InputError
from core.motion import SAMPLES_PER_FRAME, num_frames

_EXTRA = 80  # samples that the network's receptive field needs beyond its hops
_ROWS_PER_FRAME = 2


class Wav2Feat:
    """Features from overlapping windows: `past` frames, `cur` frames that are kept, `future` frames."""

    def __init__(self, hubert: Callable[[np.ndarray], np.ndarray], chunk_size: tuple[int, int, int] = (3, 5, 2)):
        """hubert: (1, n) float32 samples -> (at least (n - 80) // 320, 1024) float32 rows at 50 Hz."""
        past, cur, future = chunk_size
        if min(past, future) < 0 or cur < 1:
            raise InputError(f"chunk size {chunk_size} is not usable; give past, current and future frames, as 3,5,2")
        self._hubert = hubert
        self._past, self._cur, self._future = past, cur, future
        self.window = SAMPLES_PER_FRAME * (past + cur + future) + _EXTRA  # samples
        self._hop = SAMPLES_PER_FRAME * cur

    def extract(self, audio: np.ndarray) -> np.ndarray:
        """Features of a whole clip.

        Args:
            audio: (L,) float32 mono at 16 kHz.

        Returns:
            (num_frames(L), 1024) float32. Raises InputError when the audio is empty.
        """
        return np.concatenate(list(self.blocks(audio)))

    def blocks(self, audio: np.ndarray) -> Iterator[np.ndarray]:
        """What `extract` gives, window by window, so that memory does not grow with the length."""
        if len(audio) == 0:
            raise InputError("the audio is empty: there is nothing to speak")
        lead = self.window - SAMPLES_PER_FRAME * (self._cur + self._future)
        padded = np.concatenate([np.zeros(lead, np.float32), audio, np.zeros(self.window, np.float32)])
        frames = num_frames(len(audio))
        for first in range(0, frames, self._cur):
            start = first * SAMPLES_PER_FRAME
            yield self.chunk(padded[start : start + self.window])[: frames - first]

    def chunk(self, samples: np.ndarray) -> np.ndarray:
        """One window of `self.window` samples -> (cur, 1024) float32, the features of its middle frames."""
        rows = self._hubert(samples[None])
        first = len(rows) - _ROWS_PER_FRAME * (self._cur + self._future)
        kept = rows[first : first + _ROWS_PER_FRAME * self._cur]
        return kept.reshape(self._cur, _ROWS_PER_FRAME, -1).mean(axis=1)

    def stream(self, audio: np.ndarray) -> Iterator[np.ndarray]:
        """Windows as a live source would deliver them, 5 ms later than those of `extract` (spec 9.3).

        Yields (cur, 1024) features, the last ones cut so that there are num_frames(L) in all.
        """
        padded = np.concatenate([np.zeros(SAMPLES_PER_FRAME * self._past, np.float32), audio])
        left = num_frames(len(audio))
        for start in range(0, len(padded), self._hop):
            if left <= 0:
                return
            samples = padded[start : start + self.window]
            samples = np.pad(samples, (0, self.window - len(samples)))
            yield self.chunk(samples)[:left]
            left -= self._cur
