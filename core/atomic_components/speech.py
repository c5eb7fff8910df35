"""Samples -> what the motion stages hear of them: features, how much audio they took, and whether anyone speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.atomic_components.voice_gate import VoiceGate
from core.interfaces import AudioEncoder, AudioStream
from core.motion import SAMPLES_PER_FRAME


@dataclass(frozen=True)
class Speech:
    """A stretch of speech, one row per video frame.

    Attributes:
        features: (n, D) float32.
        heard: samples of the stream that had to arrive before these features could be made.
        voice: (n,) float32 in 0..1 from the voice gate, or None without one.
        outlook: (m, D) float32, what is known of the rows that will follow; None: nothing.
    """

    features: np.ndarray
    heard: int = 0
    voice: np.ndarray | None = None
    outlook: np.ndarray | None = None


class WholeSpeech:
    """The stage of offline runs: a whole recording in, its features in blocks."""

    def __init__(self, encoder: AudioEncoder, gate: VoiceGate | None = None):
        self._encoder, self._gate = encoder, gate

    def __call__(self, audio: np.ndarray) -> Iterator[Speech]:
        """(L,) float32 mono at 16 kHz -> num_frames(L) rows in all. Raises InputError when the audio is empty."""
        if self._gate is not None:
            self._gate.push(audio)
        for features in self._encoder.blocks(audio):
            yield Speech(features, len(audio), None if self._gate is None else self._gate.take(len(features)))


class LiveSpeech:
    """The stage of online runs: samples as they arrive, features as soon as they are final."""

    def __init__(self, stream: AudioStream, gate: VoiceGate | None = None):
        self._stream, self._gate = stream, gate
        self._heard = 0

    def __call__(self, samples: np.ndarray) -> Iterator[Speech]:
        """(m,) float32 mono at 16 kHz, any m -> the rows that they complete, if any.

        What comes out does not depend on m: never more than a frame is taken at a time, so that each block has its
        outlook.
        """
        for start in range(0, len(samples), SAMPLES_PER_FRAME):
            piece = samples[start : start + SAMPLES_PER_FRAME]
            self._heard += len(piece)
            if self._gate is not None:
                self._gate.push(piece)
            yield from self._speech(self._stream.push(piece))

    def finish(self) -> Iterator[Speech]:
        """The rows that are left."""
        return self._speech(self._stream.finish())

    def _speech(self, rows: np.ndarray) -> Iterator[Speech]:
        if len(rows):
            voice = None if self._gate is None else self._gate.take(len(rows))
            yield Speech(rows, self._heard, voice, self._stream.outlook)
