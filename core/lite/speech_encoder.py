"""Speech features: the Whisper tiny encoder over overlapping windows (spec/lite.md section 9).

Every window holds past, one step of new frames and look-ahead; a recording is treated as if silence came before and
after it, so each frame sees the same amount of context and memory does not grow with the length. Whisper's absolute
positions make half the variance of its features; the pack's table of their means (output `positions`, fitted by
scripts/ditto_lite/fit_speech_positions.py) is taken off, so that features hardly depend on the window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike

import numpy as np

from core.backends.onnx import load_session
from core.errors import InputError
from core.lite.loudness import speech_level
from core.lite.speech_memory import NOTHING, Memory
from core.lite.speech_stream import DIM, LOUDEST, MAX_POSITIONS, MELS, OFFLINE, WIDTH, SpeechStream, Window
from core.motion import SAMPLE_RATE
from core.motion import SAMPLES_PER_FRAME as FRAME
from core.utils.audio_chunks import checked_clip, checked_first, checked_size

__all__ = ["LOUDEST", "MAX_POSITIONS", "OFFLINE", "WIDTH", "SpeechEncoder"]

MAX_FRAMES = MAX_POSITIONS * 2 // MELS  # of a window
# Past, step and look-ahead in frames: 2 s, 0.2 s, 0.16 s. Lips of a live run agree with offline ones at r 0.97; with
# steps of one frame at 0.94, 0.96 and 0.97 for a look-ahead of 4, 5 and 6 (scripts/ditto_lite/compare_streaming.py).
ONLINE = (50, 5, 4)
LEAST_AHEAD = 3  # frames; with 2 the lips agree at r 0.83 only
PRESCAN = 30 * SAMPLE_RATE


class SpeechEncoder:
    """The encoder network of a pack. `dim` is the width of the features."""

    dim = DIM
    can_stream = True

    def __init__(self, path: str | PathLike[str], threads: int = 1):
        """Load speech_encoder.onnx; raises PackError when it is missing or something else."""
        outputs = ("features", "positions", "new_keys", "new_values")
        self._session = load_session(path, threads).require(("mel", "keys", "values"), outputs)

    def extract(self, audio: np.ndarray) -> np.ndarray:
        """Features of a whole recording: (L,) float32 mono at 16 kHz, L >= 1, to ((L + 639) // 640, 385) float32.

        Columns 0-383 are the mean of the two centred 50 Hz encoder vectors of each 25 fps frame, column 384 is
        log(rms + 1e-4) of its 640 samples after the loudness gain. Raises InputError for empty, non-finite or
        multi-channel audio.
        """
        return np.concatenate(list(self.blocks(audio)))

    def blocks(self, audio: np.ndarray) -> Iterator[np.ndarray]:
        """What `extract` gives, in blocks of at most 4 s: memory does not grow with the length."""
        audio = checked_clip(audio)
        stream, size = SpeechStream(self, OFFLINE, speech_level(audio[:PRESCAN])), FRAME * OFFLINE.step
        for start in range(0, len(audio), size):
            yield stream.push(audio[start : start + size])
        yield stream.finish()

    def silence(self, frames: int) -> np.ndarray:
        """(frames, 385) features of silence."""
        return self.extract(np.zeros(FRAME * frames, np.float32)) if frames else np.zeros((0, DIM), np.float32)

    def stream(self, chunk_size: Sequence[int] | None = None, first_step: int | None = None) -> SpeechStream:
        """A stream with windows for live use. See `core.interfaces.AudioEncoder`.

        chunk_size: its past is not used, the encoder needs more of it than the reference's windows have; its future
        is raised to LEAST_AHEAD. Raises InputError for sizes that no window can have.
        """
        _, step, future = checked_size(ONLINE if chunk_size is None else chunk_size)
        future = max(future, LEAST_AHEAD)
        room = MAX_FRAMES - step - future
        if room < OFFLINE.past:
            most = MAX_FRAMES - OFFLINE.past
            raise InputError(f"chunk size: current and future frames are {step + future}; at most {most} are possible")
        window = Window(min(ONLINE[0], room), step, checked_first(first_step, step), future * MELS - 2)
        return SpeechStream(self, window)

    def encode_mel(self, mel: np.ndarray) -> np.ndarray:
        """One window: Whisper's mel (80, T) float32, even T <= 520, to the centred 50 Hz vectors (T / 2, 384)."""
        return self.encode_after(mel, NOTHING)[0]

    def encode_after(self, mel: np.ndarray, past: Memory) -> tuple[np.ndarray, Memory]:
        """The same for what follows `past`, and the memory of these vectors.

        Unless `past` is empty, the mel begins REACH columns early. `past` and the vectors are MAX_POSITIONS at most.
        """
        out = self._session.run(mel=np.ascontiguousarray(mel[None]), keys=past.keys, values=past.values)
        vectors = out["features"][0]
        return vectors - out["positions"][len(past) :][: len(vectors)], Memory(out["new_keys"], out["new_values"])
