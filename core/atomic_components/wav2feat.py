"""Audio -> one feature vector per video frame, with the streaming HuBERT of the official packs (spec pipeline.md 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from core.motion import SAMPLES_PER_FRAME, num_frames
from core.utils.audio_chunks import (
    CHUNK_SIZE,
    EXTRA,
    FEATURE_DIM,
    checked_clip,
    checked_first,
    checked_samples,
    checked_size,
)

_ROWS_PER_FRAME = 2
Hubert = Callable[[np.ndarray], np.ndarray]


class Wav2Feat:
    """Features from overlapping windows: `past` frames, `cur` frames that are kept, `future` frames."""

    can_stream = True

    def __init__(self, hubert: Hubert, chunk_size: Sequence[int] = CHUNK_SIZE):
        """hubert: (1, n) float32 samples -> at least (n - 80) // 320 rows (1024,) float32 at 50 Hz."""
        self._hubert, self._size = hubert, checked_size(chunk_size)

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
        audio = checked_clip(audio)
        past, cur, future = self._size
        frames, width = num_frames(len(audio)), _width(past, cur, future)
        lead = SAMPLES_PER_FRAME * past + EXTRA
        padded = np.concatenate([np.zeros(lead, np.float32), audio, np.zeros(width, np.float32)])
        for first in range(0, frames, cur):
            start = first * SAMPLES_PER_FRAME
            yield kept_features(self._hubert, padded[start : start + width], cur, future)[: frames - first]

    def silence(self, frames: int) -> np.ndarray:
        """(frames, 1024) features of as many frames of silence, cut as a whole clip (spec 12.1)."""
        silent = np.zeros(SAMPLES_PER_FRAME * frames, np.float32)
        return self.extract(silent) if frames else np.zeros((0, FEATURE_DIM), np.float32)

    def stream(self, chunk_size: Sequence[int] | None = None, first_step: int | None = None) -> HubertStream:
        """Windows as a live source delivers them, 5 ms later than those of `extract` (spec 9.3).

        See `core.interfaces.AudioEncoder`; raises InputError.
        """
        past, cur, future = checked_size(self._size if chunk_size is None else chunk_size)
        return HubertStream(self._hubert, past, checked_first(first_step, cur), cur, future)


class HubertStream:
    """Features of samples that arrive in pieces of any length. See `core.interfaces.AudioStream`."""

    def __init__(self, hubert: Hubert, past: int, first_step: int, step: int, future: int):
        self.first_step, self.step, self.look_ahead = first_step, step, SAMPLES_PER_FRAME * future + EXTRA
        self.ahead, self.outlook = 0, np.zeros((0, FEATURE_DIM), np.float32)
        self._hubert, self._past, self._future = hubert, past, future
        self._samples = np.zeros(SAMPLES_PER_FRAME * past, np.float32)  # from the start of the next window
        self._received = 0  # samples
        self._given = 0  # frames

    def push(self, samples: np.ndarray) -> np.ndarray:
        """(m,) more samples -> (k, 1024) features of the blocks that they complete."""
        samples = checked_samples(samples)
        self._received += len(samples)
        self._samples = np.concatenate([self._samples, samples])
        blocks = [np.zeros((0, FEATURE_DIM), np.float32)]
        while len(self._samples) >= self._width():
            blocks.append(self._block())
        return np.concatenate(blocks)

    def finish(self) -> np.ndarray:
        """(k, 1024) features of what is left, with zeros after the end: num_frames(samples) rows in all."""
        left = num_frames(self._received) - self._given
        blocks = [np.zeros((0, FEATURE_DIM), np.float32)]
        while left > sum(map(len, blocks)):
            self._samples = np.pad(self._samples, (0, max(0, self._width() - len(self._samples))))
            blocks.append(self._block())
        return np.concatenate(blocks)[:left]

    def _width(self) -> int:
        return _width(self._past, self._next_step(), self._future)

    def _next_step(self) -> int:
        return self.step if self._given else self.first_step

    def _block(self) -> np.ndarray:
        """Features of the next window, which is complete, and step over it."""
        cur = self._next_step()
        rows = kept_features(self._hubert, self._samples[: self._width()], cur, self._future)
        self._samples = self._samples[SAMPLES_PER_FRAME * cur :]
        self._given += cur
        return rows


def kept_features(hubert: Hubert, window: np.ndarray, cur: int, future: int) -> np.ndarray:
    """One window of samples -> (cur, 1024) float32: the means of the row pairs before the last `future` frames."""
    rows = hubert(window[None])
    first = len(rows) - _ROWS_PER_FRAME * (cur + future)
    kept = rows[first : first + _ROWS_PER_FRAME * cur]
    return kept.reshape(cur, _ROWS_PER_FRAME, -1).mean(axis=1)


def _width(past: int, cur: int, future: int) -> int:
    """Samples of a window of so many frames."""
    return SAMPLES_PER_FRAME * (past + cur + future) + EXTRA
