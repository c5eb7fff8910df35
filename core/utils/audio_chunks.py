"""Pieces of audio as callers deliver them -> consecutive samples (spec pipeline.md 9.1, 9.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import InputError
from core.motion import SAMPLES_PER_FRAME

CHUNK_SIZE = (3, 5, 2)  # past, current and future frames of a window, as in the reference
FEATURE_DIM = 1024  # numbers per row of HuBERT and WavLM
EXTRA = 80  # samples that HuBERT's receptive field needs beyond its hops
MAX_FRAMES = 500  # of a window: 20 s, beyond which attention costs more than it gives


class ChunkFeed:
    """What is new in each chunk of a run, whichever of two habits the caller has; the first chunk tells.

    Scripts written for the reference pass overlapping windows of past, current and future frames plus 80 samples, the
    first with zeros for its past. Others pass consecutive samples of any length.
    """

    def __init__(self, chunk_size: Sequence[int] = CHUNK_SIZE):
        """Raises InputError for sizes that no window can have."""
        past, self._cur, future = checked_size(chunk_size)
        self._lead = SAMPLES_PER_FRAME * past
        self._overlap = SAMPLES_PER_FRAME * (past + future) + EXTRA
        self._chunks, self._overlapping = 0, False

    @property
    def limit(self) -> int | None:
        """Frames that overlapping chunks stand for so far, without the look-ahead of the last; None for other chunks.

        Features beyond it are not to be spoken.
        """
        return self._cur * self._chunks if self._overlapping else None

    def new_samples(self, chunk: np.ndarray) -> np.ndarray:
        """(m,) float32 -> the samples (k,), k <= m, that no earlier chunk held. Raises InputError for bad samples."""
        chunk = checked_samples(chunk)
        known = self._overlap
        if not self._chunks:
            self._overlapping = len(chunk) == self._overlap + SAMPLES_PER_FRAME * self._cur
            known = self._lead
        self._chunks += 1
        return chunk[known:] if self._overlapping else chunk


def checked_size(chunk_size: Sequence[int]) -> tuple[int, int, int]:
    """Past, current and future frames of a window. Raises InputError when a window cannot have them."""
    sizes = tuple(chunk_size)
    whole = len(sizes) == 3 and all(isinstance(size, (int, np.integer)) for size in sizes)
    if not whole or min(sizes) < 0 or sizes[1] < 1 or sum(sizes) > MAX_FRAMES:
        raise InputError(
            f"chunk size {sizes} is not usable; give past, current (at least 1) and future frames, "
            f"together at most {MAX_FRAMES}, as 3,5,2"
        )
    return tuple(int(size) for size in sizes)


def checked_first(first_step: int | None, step: int) -> int:
    """Frames of the first block of a stream; raises InputError when they are not 1 .. step."""
    if first_step is None:
        return step
    if not isinstance(first_step, (int, np.integer)) or not 1 <= first_step <= step:
        raise InputError(f"first step {first_step} is not usable; it must be 1 .. {step} frames")
    return int(first_step)


def as_samples(audio: Any) -> np.ndarray:
    """Audio from a caller -> (m,) float32 at 16 kHz; 16-bit whole numbers become -1 .. 1. Raises InputError."""
    samples = np.asarray(audio)
    if samples.dtype.kind not in "fi":
        raise InputError(f"the audio is {samples.dtype}; give (samples,), 16 kHz mono, int16 or float")
    return checked_samples(samples / np.float32(32768) if samples.dtype == np.int16 else samples)


def checked_samples(audio: Any) -> np.ndarray:
    """(m,) float32 samples. Raises InputError for several channels and for samples that are not finite numbers."""
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 1:
        raise InputError(f"the audio has shape {audio.shape}; give one channel, as a one-dimensional array")
    if not np.isfinite(audio).all():
        raise InputError("the audio holds NaN or infinite samples; write the recording again without them")
    return audio


def checked_clip(audio: Any) -> np.ndarray:
    """`checked_samples` of a whole recording, which must not be empty."""
    audio = checked_samples(audio)
    if not len(audio):
        raise InputError("the audio is empty: there is nothing to speak")
    return audio
