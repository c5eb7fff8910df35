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
from core.lite.speech_encoder import LEAST_AHEAD, MAX_FRAMES, OFFLINE, ONLINE, SpeechEncoder
from core.lite.speech_memory import NOTHING
from core.lite.speech_stream import SpeechStream

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
    out = load_session(MODEL).run(mel=whisper_mel(speech)[None], keys=NOTHING.keys, values=NOTHING.values)
    features = out["features"][0]
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
    stream = SpeechStream(encoder, OFFLINE, speech_level(speech))
    np.testing.assert_allclose(in_pieces(stream, speech, cuts), encoder.extract(speech), atol=1e-3)


@pytest.mark.parametrize(
    "size, least", [((50, 25, 5), 0.92), ((50, 10, 5), 0.9), (ONLINE, 0.87), ((50, 2, 4), 0.84), ((50, 3, 3), 0.82)]
)
def test_live_windows_give_nearly_the_same_features(encoder, speech, size, least):
    streamed = in_pieces(encoder.stream(size), speech[:64_000], [50_000])
    whole = encoder.extract(speech[:64_000])
    assert streamed.shape == whole.shape
    spoken = whole[:, 384] > -5
    assert cosine(streamed[:, :384], whole[:, :384])[spoken].mean() > least
    assert np.abs(streamed[50:, 384] - whole[50:, 384]).max() < 0.2  # the gain has found the level by then


@pytest.mark.parametrize("size, first", [(ONLINE, None), (ONLINE, 2), ((50, 2, 3), 1), ((3, 5, 2), None)])
def test_a_block_comes_out_with_its_look_ahead(encoder, speech, size, first):
    stream = encoder.stream(size, first)
    assert stream.look_ahead == 640 * max(size[2], LEAST_AHEAD)
    need = 640 * stream.first_step + stream.look_ahead
    assert len(stream.push(speech[: need - 1])) == 0
    assert len(stream.push(speech[need - 1 : need])) == stream.first_step == (first or size[1])
    rest = speech[need : need + 640 * size[1]]
    assert len(stream.push(rest[:-1])) == 0 and len(stream.push(rest[-1:])) == stream.step == size[1]


def test_a_first_block_of_its_own_size_shifts_the_others_only(encoder, speech):
    speech = speech[:40_000]
    plain, early = (in_pieces(encoder.stream(first_step=first), speech, [9999]) for first in (None, 2))
    assert plain.shape == early.shape
    np.testing.assert_allclose(plain[:, 384], early[:, 384], atol=1e-5)
    assert cosine(plain[:, :384], early[:, :384]).mean() > 0.9


@pytest.mark.parametrize("step", [1, 100])
def test_smallest_and_largest_steps(encoder, speech, step):
    stream = encoder.stream((3, step, 3))
    assert in_pieces(stream, speech[:16_000], [700]).shape == (25, 385)


@pytest.mark.parametrize("frames", [0, 1, 70])
def test_silent_frames(encoder, frames):
    rows = encoder.silence(frames)
    assert rows.shape == (frames, 385) and np.allclose(rows[:, 384], np.log(1e-4), atol=1e-5)


@settings(max_examples=15)
@given(length=st.one_of(st.sampled_from([1, 639, 640, 641, 3200, 64_000, 64_001]), st.integers(1, 200_000)))
def test_one_row_per_started_frame(length):
    audio = 0.1 * np.sin(np.arange(length, dtype=np.float32))
    features = SpeechEncoder(MODEL).extract(audio)
    assert features.shape == ((length + 639) // 640, 385) and features.dtype == np.float32
    assert np.isfinite(features).all()


def test_a_recording_over_thirty_seconds(encoder, speech):
    features = encoder.extract(np.tile(speech, 6))
    assert len(features) == (6 * len(speech) + 639) // 640


def test_loudness_of_the_recording_hardly_matters(encoder, speech):
    quiet, loud = encoder.extract(speech * 0.2), encoder.extract(speech)
    assert cosine(quiet[:, :384], loud[:, :384]).mean() > 0.98
    assert np.abs(quiet[:, 384] - loud[:, 384]).max() < 0.1


def test_silence_stays_silent(encoder):
    features = encoder.extract(np.zeros(3 * 16000, np.float32))
    np.testing.assert_allclose(features[:, 384], np.log(1e-4), atol=1e-5)
    assert np.isfinite(features).all()


def test_energy_follows_the_voice(encoder, speech):
    energy = encoder.extract(np.concatenate([np.zeros(16000, np.float32), speech]))[:, 384]
    assert energy[:25].max() < -9 and np.percentile(energy[25:], 75) > -3.5


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((2, 100)), np.array([0, np.nan]), np.array([np.inf])])
def test_bad_audio_is_refused(encoder, audio):
    with pytest.raises(InputError):
        encoder.extract(audio)


def test_missing_model_names_the_file(tmp_path):
    with pytest.raises(PackError, match="nothing.onnx"):
        SpeechEncoder(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("size", [(50, 0, 4), (50, MAX_FRAMES, 4), (50, 5), (50, 90, 20)])
def test_impossible_windows_are_refused(encoder, size):
    with pytest.raises(InputError, match="chunk size"):
        encoder.stream(size)


def test_a_first_step_longer_than_the_others_is_refused(encoder):
    with pytest.raises(InputError, match=r"1 \.\. 5"):
        encoder.stream(ONLINE, 6)


def test_a_stream_without_any_sound_gives_nothing(encoder):
    stream = encoder.stream()
    assert stream.push(np.zeros(0, np.float32)).shape == (0, 385) and stream.finish().shape == (0, 385)
