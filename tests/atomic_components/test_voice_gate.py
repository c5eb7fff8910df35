"""The energy gate: silence and noise close it, speech opens it, and short closures inside words do not."""

from __future__ import annotations

import numpy as np
import pytest

from core.atomic_components.voice_gate import HANG, REACH, VoiceGate
from core.motion import SAMPLE_RATE, SAMPLES_PER_FRAME

RNG = np.random.default_rng(0)


def tone(seconds: float, rms: float) -> np.ndarray:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (rms * 2**0.5 * np.sin(2 * np.pi * 180 * t)).astype(np.float32)


def noise(seconds: float, rms: float) -> np.ndarray:
    return RNG.normal(0, rms, round(seconds * SAMPLE_RATE)).astype(np.float32)


def alpha(audio: np.ndarray, cut: int | None = None) -> np.ndarray:
    gate = VoiceGate()
    for start in range(0, len(audio), cut or len(audio)):
        gate.push(audio[start : start + (cut or len(audio))])
    return gate.take(len(audio) // SAMPLES_PER_FRAME)


@pytest.mark.parametrize("background", [np.zeros(2 * SAMPLE_RATE, np.float32), noise(2, 0.003), noise(2, 0.01)])
def test_speech_opens_and_background_closes(background):
    speech = tone(1, 0.1)
    speech = speech + np.resize(background, len(speech))
    got = alpha(np.concatenate([background, speech, background]))
    assert got[:40].max() == 0
    assert got[52:75].min() == 1
    assert got[49] > 0, "the mouth may start before the sound"
    assert got[75 + HANG + 8 :].max() == 0


def test_a_closure_inside_a_word_is_no_pause():
    word = np.concatenate([tone(0.4, 0.1), np.zeros(4 * SAMPLES_PER_FRAME, np.float32), tone(0.4, 0.1)])
    got = alpha(np.concatenate([np.zeros(SAMPLE_RATE, np.float32), word]))
    assert got[28:].min() == 1


def test_fades_are_gradual():
    got = alpha(np.concatenate([np.zeros(SAMPLE_RATE, np.float32), tone(1, 0.1), np.zeros(SAMPLE_RATE, np.float32)]))
    assert np.abs(np.diff(got)).max() <= 0.5


@pytest.mark.parametrize("cut", [1, 100, 640, 5000])
def test_the_cut_does_not_matter(cut):
    audio = np.concatenate([noise(0.2, 0.001), tone(0.3, 0.05), noise(0.3, 0.001)])
    np.testing.assert_array_equal(alpha(audio, cut), alpha(audio))


def test_frames_that_have_not_been_heard_yet_keep_the_state():
    gate = VoiceGate()
    gate.push(tone(0.4, 0.1))
    assert gate.take(10 + REACH)[-1] == 1
