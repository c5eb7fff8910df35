"""Speech features: the Whisper tiny encoder over overlapping windows (spec/lite.md section 9).

Every window holds 1 s of past, one step of new frames and 0.2 s of look-ahead; a recording is treated as if silence
came before and after it, so each frame sees the same amount of context and memory does not grow with the length.
Whisper's absolute positions make half the variance of its features; the pack's table of their means (output
`positions`, fitted by scripts/ditto_lite/fit_speech_positions.py) is taken off, so that features hardly depend on the
window.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

import numpy as np

from core.backends.onnx import load_session
from core.errors import InputError
from core.lite.loudness import Loudness, speech_level
from core.lite.mel import CONTEXT, HOP, log10_mel, whisper_scale
from core.motion import SAMPLE_RATE
from core.motion import SAMPLES_PER_FRAME as FRAME

MELS = FRAME // HOP
WIDTH = 384
DIM = WIDTH + 1
PAST, AHEAD = 25 * MELS, 5 * MELS  # mel frames: 1 s and 0.2 s
OFFLINE_STEP, ONLINE_STEP = 100, 5  # video frames: 4 s and 0.2 s
MAX_POSITIONS = (PAST + OFFLINE_STEP * MELS + AHEAD) // 2  # encoder vectors of the longest window
LOUDEST = 1.0  # least maximum for the clamp: that of speech at rms 0.1, so that silence is not stretched
PRESCAN = 30 * SAMPLE_RATE


class SpeechEncoder:
    """The encoder network of a pack. `dim` is the width of the features."""

    dim = DIM

    def __init__(self, path: str | PathLike[str], threads: int = 1):
        """Load speech_encoder.onnx; raises PackError when it is missing or something else."""
        self._session = load_session(path, threads).require(("mel",), ("features", "positions"))

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Features of a whole recording: (L,) float32 mono at 16 kHz, L >= 1, to ((L + 639) // 640, 385) float32.

        Columns 0-383 are the mean of the two centred 50 Hz encoder vectors of each 25 fps frame, column 384 is
        log(rms + 1e-4) of its 640 samples after the loudness gain. Raises InputError for empty, non-finite or
        multi-channel audio.
        """
        return np.concatenate(list(self.blocks(audio)))

    def blocks(self, audio: np.ndarray) -> Iterator[np.ndarray]:
        """What `encode` gives, in blocks of at most OFFLINE_STEP frames: memory does not grow with the length."""
        audio = _checked(audio)
        if not len(audio):
            raise InputError("the audio is empty; give a recording with at least one sample")
        stream = self.stream(OFFLINE_STEP, speech_level(audio[:PRESCAN]))
        for start in range(0, len(audio), FRAME * OFFLINE_STEP):
            yield stream.push(audio[start : start + FRAME * OFFLINE_STEP])
        yield stream.finish()

    def stream(self, step: int = ONLINE_STEP, level: float | None = None) -> SpeechStream:
        """An incremental encoder that yields `step` frames at a time, `level` as in Loudness."""
        return SpeechStream(self, step, level)

    def encode_mel(self, mel: np.ndarray) -> np.ndarray:
        """One window: Whisper's mel (80, T) float32, even T <= 520, to the centred 50 Hz vectors (T / 2, 384)."""
        out = self._session.run(mel=np.ascontiguousarray(mel[None]))
        return out["features"][0] - out["positions"][: mel.shape[1] // 2]


class SpeechStream:
    """Features of a recording that arrives in pieces; the result does not depend on how it is cut."""

    def __init__(self, encoder: SpeechEncoder, step: int, level: float | None = None):
        if not 1 <= step <= OFFLINE_STEP:
            raise ValueError(f"step {step} is not between 1 and {OFFLINE_STEP} frames")
        self._encoder, self._step, self._loudness = encoder, step, Loudness(level)
        self._maximum = LOUDEST
        self._raw = np.zeros(0, np.float32)  # samples of an unfinished frame
        self._samples = np.zeros(PAST * HOP + CONTEXT, np.float32)  # after the gain, not yet in `_mel`
        self._mel = np.zeros((80, 0), np.float32)  # from PAST mel frames before the next output frame
        self._energy = np.zeros(0, np.float32)  # of the frames not yet returned

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take (m,) more samples and return the frames that they complete, (k, 385) float32, often k = 0.

        A frame comes out when its whole step and 0.2 s of look-ahead (3240 samples) have arrived.
        """
        raw = np.concatenate([self._raw, _checked(samples)])
        whole = len(raw) // FRAME * FRAME
        self._raw = raw[whole:].copy()
        self._take_frames(raw[:whole].reshape(-1, FRAME))
        return self._drain(final=False)

    def finish(self) -> np.ndarray:
        """The remaining frames (k, 385), the last one filled with zeros; the stream cannot be used afterwards."""
        if len(self._raw):
            self._take_frames(np.pad(self._raw, (0, FRAME - len(self._raw)))[None])
        self._take_samples(np.zeros(AHEAD * HOP + CONTEXT, np.float32))
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
        pieces = [np.zeros((0, DIM), np.float32)]
        while self._mel.shape[1] >= PAST + self._step * MELS + AHEAD:
            pieces.append(self._window(self._step))
        if final and len(self._energy):
            pieces.append(self._window(len(self._energy)))
        return np.concatenate(pieces)

    def _window(self, frames: int) -> np.ndarray:
        """Encode the window of the next `frames` frames and step over them."""
        mel = self._mel[:, : PAST + frames * MELS + AHEAD]
        self._maximum = max(self._maximum, float(mel.max()))
        vectors = self._encoder.encode_mel(whisper_scale(mel, self._maximum))
        vectors = vectors[PAST // 2 : PAST // 2 + 2 * frames].reshape(frames, 2, WIDTH).mean(axis=1)
        features = np.column_stack([vectors, self._energy[:frames]])
        self._mel, self._energy = self._mel[:, frames * MELS :].copy(), self._energy[frames:]
        return features


def _checked(audio: np.ndarray) -> np.ndarray:
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 1:
        raise InputError(f"the audio has shape {audio.shape}; give one channel, as a one-dimensional array")
    if not np.isfinite(audio).all():
        raise InputError("the audio holds NaN or infinite samples; write the recording again without them")
    return audio
