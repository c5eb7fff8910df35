"""The stages that hear: what they pass on, how much audio it took, and the gate beside it."""

from __future__ import annotations

import numpy as np

from core.atomic_components.speech import LiveSpeech, WholeSpeech
from core.atomic_components.voice_gate import VoiceGate
from core.motion import SAMPLES_PER_FRAME as FRAME
from core.motion import num_frames


class FakeStream:
    """One row per whole frame that has a frame of look-ahead; the row is the frame's number."""

    outlook = np.zeros((0, 1), np.float32)

    def __init__(self):
        self._samples = self._given = 0

    def push(self, samples):
        self._samples += len(samples)
        return self._rows(max(self._samples // FRAME - 1, self._given))

    def finish(self):
        return self._rows(num_frames(self._samples))

    def _rows(self, end):
        rows = np.arange(self._given, end, dtype=np.float32)[:, None]
        self._given = end
        return rows


class FakeEncoder:
    def blocks(self, audio):
        n = num_frames(len(audio))
        for start in range(0, n, 4):
            yield np.arange(start, min(start + 4, n), dtype=np.float32)[:, None]


def test_live_speech_counts_what_it_heard():
    live = LiveSpeech(FakeStream())
    assert not [*live(np.zeros(FRAME))]
    speech = [*live(np.zeros(2 * FRAME + 10))]
    assert [s.features[:, 0].tolist() for s in speech] == [[0], [1]] and [s.heard // FRAME for s in speech] == [2, 3]
    assert speech[0].voice is None and len(speech[0].outlook) == 0
    (last,) = live.finish()
    assert last.features[:, 0].tolist() == [2, 3] and last.heard == 3 * FRAME + 10
    assert not [*live.finish()]


def test_the_gate_keeps_step_with_the_features():
    t = np.arange(20 * FRAME) / 16000
    audio = np.where(np.arange(len(t)) < 10 * FRAME, 0, 0.2 * np.sin(1200 * t)).astype(np.float32)
    whole = [*WholeSpeech(FakeEncoder(), VoiceGate())(audio)]
    assert [len(s.features) for s in whole] == [len(s.voice) for s in whole] == [4] * 5
    voice = np.concatenate([s.voice for s in whole])
    assert voice[:8].max() == 0 and voice[12:].min() == 1
    live, pieces = LiveSpeech(FakeStream(), VoiceGate()), []
    for start in range(0, len(audio), 1000):
        pieces += live(audio[start : start + 1000])
    pieces += live.finish()
    alphas = np.concatenate([s.voice for s in pieces])
    assert len(alphas) == 20 and alphas[:8].max() == 0 and alphas[13:].min() == 1
