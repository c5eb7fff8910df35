"""WavLM features of whole recordings, a second extractor for the official packs (arXiv 2110.13900).

The reference's documents promise it and its code refuses it, so there is nothing to be equal to but the interface:
16 kHz in, 50 Hz x 1024 out, at most 320080 samples at a time (spec models.md 13.2), pairs of rows averaged to 25 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from core.aux_models.session import run_single, shaped
from core.backends.session import Session
from core.errors import InputError
from core.motion import SAMPLES_PER_FRAME, num_frames
from core.utils.audio_chunks import EXTRA, FEATURE_DIM, checked_clip

PAST, STEP, FUTURE = 25, 450, 25  # frames of a window, 20 s in all; 1 s on either side is only context
EDGE = EXTRA // 2  # samples before and after a window, so that the middle of two rows is that of their frame
LEAST_VARIANCE = 1e-7  # keeps silence silent
_PART = 1 << 16  # samples summed at a time


class WavLm:
    """Features from long overlapping windows, which bound the memory.

    The network gets the recording with mean 0 and variance 1, as the published large model wants it.
    """

    can_stream = False

    def __init__(self, session: Session):
        """session: a network with one input (1, n) whose first output has (n - 400) // 320 + 1 rows of 1024."""
        self._session = session

    def extract(self, audio: np.ndarray) -> np.ndarray:
        """(L,) float32 mono at 16 kHz -> (num_frames(L), 1024) float32. Raises InputError when it is empty."""
        return np.concatenate(list(self.blocks(audio)))

    def blocks(self, audio: np.ndarray) -> Iterator[np.ndarray]:
        """What `extract` gives, window by window."""
        audio = checked_clip(audio)
        mean, frames = float(audio.mean(dtype=np.float64)), num_frames(len(audio))
        deviation = np.float32(np.sqrt(_variance(audio, mean) + LEAST_VARIANCE))
        for first in range(0, frames, STEP):
            stop = min(frames, first + STEP)
            start, end = max(0, first - PAST), min(frames, stop + FUTURE)
            samples = _cut(audio, SAMPLES_PER_FRAME * start - EDGE, SAMPLES_PER_FRAME * end + EDGE, mean)
            samples = (samples - np.float32(mean)) / deviation
            rows = self._rows(samples, 2 * (end - start))
            yield rows.reshape(end - start, 2, FEATURE_DIM).mean(axis=1)[first - start : stop - start]

    def silence(self, frames: int) -> np.ndarray:
        """(frames, 1024) features of silence."""
        silent = np.zeros(SAMPLES_PER_FRAME * frames, np.float32)
        return self.extract(silent) if frames else np.zeros((0, FEATURE_DIM), np.float32)

    def stream(self, chunk_size: Sequence[int] | None = None, first_step: int | None = None) -> None:
        """Always raises InputError: every feature of WavLM depends on what is said seconds later."""
        raise InputError(
            "this pack's speech features are WavLM's, which look seconds ahead and so cannot be computed live; "
            "run it offline (online_mode false) or take a pack with HuBERT features"
        )

    def _rows(self, samples: np.ndarray, wanted: int) -> np.ndarray:
        """(n,) samples -> (wanted, 1024); raises PackError when the network gives anything else."""
        out = run_single(self._session, samples[None])
        return shaped(self._session, next(iter(out.values())), FEATURE_DIM, wanted)


def _variance(audio: np.ndarray, mean: float) -> float:
    """Of (L,) samples, in parts: sums of an hour in float32 would be off in the third digit."""
    total = 0.0
    for start in range(0, len(audio), _PART):
        part = audio[start : start + _PART] - mean
        total += float(np.dot(part, part))
    return total / len(audio)


def _cut(audio: np.ndarray, start: int, stop: int, fill: float) -> np.ndarray:
    """audio[start:stop] with `fill` where there is no audio."""
    part = audio[max(0, start) : stop]
    before = max(0, -start)
    return np.pad(part, (before, stop - start - before - len(part)), constant_values=fill)
