"""PCM of any rate and number of channels, in pieces -> 16 kHz mono."""

from __future__ import annotations

import numpy as np
import soxr

from core.errors import InputError
from core.motion import SAMPLE_RATE

RATES = (4000, 192000)  # Hz, least and greatest
MAX_CHANNELS = 8


class PcmFeed:
    """One turn of speech after the other; `flush` gives the end of a turn that the resampler still holds."""

    def __init__(self) -> None:
        self._resampler: soxr.ResampleStream | None = None
        self._rate = SAMPLE_RATE

    def feed(self, pcm: bytes, rate: int = SAMPLE_RATE, channels: int = 1) -> np.ndarray:
        """Interleaved 16-bit little-endian samples -> (m,) float32. Raises InputError for what is no such thing."""
        if not RATES[0] <= rate <= RATES[1] or not 1 <= channels <= MAX_CHANNELS:
            raise InputError(f"cannot take sound of {rate} Hz with {channels} channels")
        if len(pcm) % (2 * channels):
            raise InputError(f"{len(pcm)} bytes are no whole number of 16-bit samples of {channels} channels")
        samples = np.frombuffer(pcm, "<i2").reshape(-1, channels).mean(axis=1, dtype=np.float32) / np.float32(32768)
        if rate == SAMPLE_RATE:
            return samples
        if self._resampler is None or rate != self._rate:
            self._rate = rate
            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
        return self._resampler.resample_chunk(samples)

    def flush(self) -> np.ndarray:
        """The rest of the turn, (m,) float32."""
        resampler, self._resampler = self._resampler, None
        if resampler is None:
            return np.zeros(0, np.float32)
        return resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def reset(self) -> None:
        """Forget the turn: it was interrupted."""
        self._resampler = None


def to_pcm(samples: np.ndarray) -> bytes:
    """(m,) float32 -> 16-bit little-endian."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
