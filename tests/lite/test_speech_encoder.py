"""Speech features: the converted encoder against ctranslate2, and the windowed stream."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from core.backends.onnx import load_session
from core.errors import InputError, PackError
from core.lite.loudness import speech_level
from core.lite.mel import whisper_mel
from core.lite.speech_encoder import OFFLINE_STEP, SpeechEncoder

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "checkpoints" / "ditto_lite" / "speech_encoder.onnx"


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    return SpeechEncoder(MODEL)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(ROOT / "example" / "speech.wav", dtype="float32")[0]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def in_pieces(stream, audio: np.ndarray, cuts: list[int]) -> np.ndarray:
    return np.concatenate([stream.push(piece) for piece in np.split(audio, cuts)] + [stream.finish()])


def test_int8_encoder_agrees_with_ctranslate2_in_float32(speech, golden):
    """The golden is ctranslate2's `encode` (float32 arithmetic) of the original weights on the same recording."""
    want = golden("speech_encoder_ct2.npz")
    features = load_session(MODEL).run(mel=whisper_mel(speech)[None])["features"][0]
    assert features.shape == (355, 384)
    got, reference = features[want["frames"]], want["features"].astype(np.float32)
    assert cosine(got, reference).min() > 0.999
    assert np.linalg.norm(got - reference) < 0.015 * np.linalg.norm(reference)


def test_file_fits_the_pack():
    assert MODEL.stat().st_size < 9e6


@pytest.mark.parametrize(
    "cuts", [[], [1, 2, 700, 9999], list(range(1777, 113600, 1777)), list(range(160, 113600, 160))]
)
def test_result_does_not_depend_on_the_cuts(encoder, speech, cuts):
    stream = encoder.stream(OFFLINE_STEP, speech_level(speech))
    np.testing.assert_allclose(in_pieces(stream, speech, cuts), encoder.encode(speech), atol=1e-3)


@pytest.mark.parametrize("step, least", [(50, 0.95), (25, 0.9), (5, 0.8)])
def test_shorter_steps_give_nearly_the_same_features(encoder, speech, step, least):
    streamed = in_pieces(encoder.stream(step, speech_level(speech)), speech, [50_000])
    whole = encoder.encode(speech)
    assert streamed.shape == whole.shape
    assert cosine(streamed[:, :384], whole[:, :384]).mean() > least
    np.testing.assert_allclose(streamed[:, 384], whole[:, 384], atol=1e-4)


def test_a_frame_comes_out_with_its_step_and_look_ahead(encoder, speech):
    stream = encoder.stream(5)
    assert len(stream.push(speech[: 5 * 640 + 3200])) == 0
    assert len(stream.push(speech[5 * 640 + 3200 : 6 * 640 + 3200])) == 5


@settings(max_examples=15)
@given(length=st.one_of(st.sampled_from([1, 639, 640, 641, 3200, 64_000, 64_001]), st.integers(1, 200_000)))
def test_one_row_per_started_frame(length):
    audio = 0.1 * np.sin(np.arange(length, dtype=np.float32))
    features = SpeechEncoder(MODEL).encode(audio)
    assert features.shape == ((length + 639) // 640, 385) and features.dtype == np.float32
    assert np.isfinite(features).all()


def test_a_recording_over_thirty_seconds(encoder, speech):
    features = encoder.encode(np.tile(speech, 6))
    assert len(features) == (6 * len(speech) + 639) // 640


def test_loudness_of_the_recording_hardly_matters(encoder, speech):
    quiet, loud = encoder.encode(speech * 0.2), encoder.encode(speech)
    assert cosine(quiet[:, :384], loud[:, :384]).mean() > 0.98
    assert np.abs(quiet[:, 384] - loud[:, 384]).max() < 0.1


def test_silence_stays_silent(encoder):
    features = encoder.encode(np.zeros(3 * 16000, np.float32))
    np.testing.assert_allclose(features[:, 384], np.log(1e-4), atol=1e-5)
    assert np.isfinite(features).all()


def test_energy_follows_the_voice(encoder, speech):
    energy = encoder.encode(np.concatenate([np.zeros(16000, np.float32), speech]))[:, 384]
    assert energy[:25].max() < -9 and np.percentile(energy[25:], 75) > -3.5


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((2, 100)), np.array([0, np.nan]), np.array([np.inf])])
def test_bad_audio_is_refused(encoder, audio):
    with pytest.raises(InputError):
        encoder.encode(audio)


def test_missing_model_names_the_file(tmp_path):
    with pytest.raises(PackError, match="nothing.onnx"):
        SpeechEncoder(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("step", [0, OFFLINE_STEP + 1])
def test_impossible_steps_are_refused(encoder, step):
    with pytest.raises(ValueError, match="step"):
        encoder.stream(step)
