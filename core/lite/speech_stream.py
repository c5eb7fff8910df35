"""Speech features of a recording in pieces: Whisper's encoder over overlapping windows (spec lite.md 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.lite.loudness import Loudness
from core.lite.mel import BANDS, CONTEXT, HOP, log10_mel, whisper_scale
from core.lite.speech_memory import NOTHING, REACH, Memory
from core.motion import SAMPLES_PER_FRAME as FRAME
from core.utils.audio_chunks import checked_samples

MELS = FRAME // HOP  # mel columns of a video frame
WIDTH = 384
DIM = WIDTH + 1
PIECE = 100 * FRAME  # samples that are worked on at a time, however many are pushed
MOST_OUTLOOK = 8  # frames of it; more would make no difference to the lips
SILENT = np.log(np.float32(1e-4))  # log energy of a frame without sound
LOUDEST = 1.0  # least maximum for the clamp: that of speech at rms 0.1, so that silence is not stretched


class MelEncoder(Protocol):
    """The network as the stream needs it."""

    def encode_after(self, mel: np.ndarray, past: Memory) -> tuple[np.ndarray, Memory]:
        """Whisper's mel (80, T) of one window, even T -> centred 50 Hz vectors (n, 384) and their memory.

        With a `past`, the first REACH columns of the mel belong to it.
        """


@dataclass(frozen=True)
class Window:
    """How a stream cuts its windows."""

    past: int  # video frames that are only context
    step: int  # video frames that come out
    first_step: int  # the same for the first window
    ahead: int  # mel columns (10 ms) after them, even

    @property
    def look_ahead(self) -> int:
        """Samples that must follow a block: those under the last mel column, in whole frames because of the gain."""
        return -(-((self.ahead - 1) * HOP + CONTEXT) // FRAME) * FRAME


OFFLINE = Window(past=25, step=100, first_step=100, ahead=20)  # 1 s, 4 s, 0.2 s; the motion model was trained on these
MAX_POSITIONS = (OFFLINE.past + OFFLINE.step) * MELS // 2 + OFFLINE.ahead // 2  # vectors of the longest window


class SpeechStream:
    """Features of samples that arrive in pieces of any length. See `core.interfaces.AudioStream`."""

    def __init__(self, encoder: MelEncoder, window: Window, level: float | None = None):
        """level: rms of the speech if it is known, as in Loudness."""
        self.step, self.first_step, self.look_ahead = window.step, window.first_step, window.look_ahead
        self.ahead = min(-(-window.ahead // MELS), MOST_OUTLOOK)
        self.outlook = np.zeros((0, DIM), np.float32)
        self._encoder, self._window, self._loudness = encoder, window, Loudness(level)
        self._past = window.past * MELS
        self._memory = NOTHING  # of what came before the next block
        self._maximum = LOUDEST
        self._started = False
        self._raw = np.zeros(0, np.float32)  # samples of an unfinished frame
        self._samples = np.zeros(self._past * HOP + CONTEXT, np.float32)  # after the gain, not yet in `_mel`
        self._mel = np.zeros((BANDS, 0), np.float32)  # from `_past` mel columns before the next output frame
        self._energy = np.zeros(0, np.float32)  # of the frames not yet returned

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take (m,) more samples and return the frames that they complete, (k, 385) float32, often k = 0.

        A block comes out when it and `look_ahead` samples after it have arrived.
        """
        samples = checked_samples(samples)
        blocks = [np.zeros((0, DIM), np.float32)]
        for start in range(0, len(samples), PIECE):
            raw = np.concatenate([self._raw, samples[start : start + PIECE]])
            whole = len(raw) // FRAME * FRAME
            self._raw = raw[whole:].copy()
            self._take_frames(raw[:whole].reshape(-1, FRAME))
            blocks.append(self._drain(final=False))
        return np.concatenate(blocks)

    def finish(self) -> np.ndarray:
        """The remaining frames (k, 385), the last one filled with zeros; the stream cannot be used afterwards."""
        if len(self._raw):
            self._take_frames(np.pad(self._raw, (0, FRAME - len(self._raw)))[None])
        self._take_samples(np.zeros(self._window.ahead * HOP + CONTEXT, np.float32))
        return self._drain(final=True)

    def _take_frames(self, frames: np.ndarray) -> None:
        frames = self._loudness.apply(frames)
        rms = np.sqrt(np.mean(np.square(frames), axis=1))
        self._energy = np.concatenate([self._energy, np.log(rms + np.float32(1e-4))])
        self._take_samples(frames.reshape(-1))

    def _take_samples(self, samples: np.ndarray) -> None:
        samples = np.concatenate([self._samples, samples])
        count = max(0, (len(samples) - 2 * CONTEXT) // HOP + 1)
        if count:
            self._mel = np.concatenate([self._mel, log10_mel(samples)], axis=1)
        self._samples = samples[count * HOP :]

    def _drain(self, final: bool) -> np.ndarray:
        blocks = [np.zeros((0, DIM), np.float32)]
        while self._mel.shape[1] >= self._past + self._next_step() * MELS + self._window.ahead:
            blocks.append(self._block(self._next_step()))
        if final and len(self._energy):
            blocks.append(self._block(len(self._energy)))
        return np.concatenate(blocks)

    def _next_step(self) -> int:
        return self.step if self._started else self.first_step

    def _block(self, frames: int) -> np.ndarray:
        """Encode the window of the next `frames` frames and step over them."""
        vectors = self._vectors(frames)
        energy = np.concatenate([self._energy, np.full(self.ahead, SILENT, np.float32)])[: frames + self.ahead]
        features = np.column_stack([_by_frame(vectors, len(energy)), energy])
        self._mel, self._energy = self._mel[:, frames * MELS :].copy(), self._energy[frames:]
        self._started = True
        self.outlook = features[frames:]
        return features[:frames]

    def _vectors(self, frames: int) -> np.ndarray:
        """50 Hz vectors of the next `frames` frames and the look-ahead.

        Each window sees what the one before has kept of the past, until the positions are used up: then the past is
        encoded anew.
        """
        mel = self._mel[:, : self._past + frames * MELS + self._window.ahead]
        self._maximum = max(self._maximum, float(mel.max()))
        known = self._past // 2
        past = self._memory if len(self._memory) + mel.shape[1] // 2 - known <= MAX_POSITIONS else NOTHING
        if len(past):
            mel, known = mel[:, self._past - REACH :], 0
        vectors, new = self._encoder.encode_after(whisper_scale(mel, self._maximum), past)
        self._memory = past.followed_by(new, known + frames * MELS // 2)
        return vectors[known:]


def _by_frame(vectors: np.ndarray, frames: int) -> np.ndarray:
    """50 Hz vectors -> their means (frames, 384) per video frame; the look-ahead may end with half a frame."""
    vectors = vectors[: 2 * frames]
    if len(vectors) % 2:
        vectors = np.concatenate([vectors, vectors[-1:]])
    return vectors.reshape(frames, 2, WIDTH).mean(axis=1)
