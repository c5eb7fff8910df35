"""Log-mel front end against transformers' WhisperFeatureExtractor (no padding), and the gain."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.lite.loudness import MAX_GAIN, Loudness, speech_level
from core.lite.mel import log10_mel, mel_filters, slaney_hertz, slaney_mel, whisper_mel

SPEECH = Path(__file__).parents[2] / "example" / "speech.wav"


def noise(rms: float, frames: int) -> np.ndarray:
    return rms * np.random.default_rng(0).standard_normal((frames, 640)).astype(np.float32)


def test_mel_agrees_with_whispers_own_extractor(golden):
    want = golden("speech_encoder_ct2.npz")
    audio = soundfile.read(SPEECH, dtype="float32")[0]
    mel = whisper_mel(audio)
    assert mel.shape == (80, len(audio) // 160)
    np.testing.assert_allclose(mel[:, want["mel_frames"]], want["mel"], atol=2e-5)


def test_mel_scale_is_invertible_and_each_band_sees_some_bin():
    hertz = np.linspace(0, 8000, 100)
    np.testing.assert_allclose(slaney_hertz(slaney_mel(hertz)), hertz, atol=1e-6)
    assert mel_filters().shape == (80, 201) and (mel_filters().max(axis=1) > 0).all()


def test_columns_do_not_depend_on_where_the_samples_start():
    audio = noise(0.1, 10).reshape(-1)
    np.testing.assert_allclose(log10_mel(audio)[:, 7:], log10_mel(audio[7 * 160 :]), atol=1e-6)


def test_digital_silence_is_the_floor():
    assert (log10_mel(np.zeros(4000, np.float32)) == -10).all()


@pytest.mark.parametrize("rms", [0.02, 0.1, 0.5])
def test_loudness_brings_speech_to_the_target(rms):
    assert np.sqrt(np.mean(Loudness().apply(noise(rms, 500))[250:] ** 2)) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("rms", [0.0, 0.002])
def test_silence_and_faint_noise_keep_their_level(rms):
    frames = noise(rms, 100)
    assert speech_level(frames.reshape(-1)) is None
    np.testing.assert_array_equal(Loudness().apply(frames), frames)


def test_gain_is_bounded_and_pauses_do_not_raise_it():
    assert Loudness(level=1e-4).update(np.zeros(1))[-1] == pytest.approx(MAX_GAIN)
    loudness = Loudness()
    loudness.apply(noise(0.2, 200))
    before = loudness.level
    loudness.apply(noise(0.002, 200))
    assert loudness.level == before
