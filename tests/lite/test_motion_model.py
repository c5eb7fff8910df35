"""Audio to motion of the embedded pack: lips that follow and close, head motion by seed, windows that agree."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from core.atomic_components.blinks import blink_rows
from core.errors import PackError
from core.lite.head_motion import HeadMotion
from core.lite.motion_model import COND_DIM, MotionModel, blink_intervals
from core.lite.motion_space import BLINK_PROFILE, LIP_SLOTS, LOWER_LIP, UPPER_LIP, FaceSpace
from core.lite.speech_encoder import SpeechEncoder
from core.media import read_audio
from core.motion import EXP, PITCH, ROLL, SCALE, TRANSLATION, YAW, bins_to_degrees, degrees_to_bins

ROOT = Path(__file__).parents[2]
PACK = ROOT / "checkpoints" / "ditto_lite"
GOLDEN = Path(__file__).parents[1] / "golden"
MOUTH_WIDTH = 0.54
NEUTRAL, HAPPY, SURPRISE = 4, 3, 6


@pytest.fixture(scope="module")
def model() -> MotionModel:
    return MotionModel(PACK / "audio2motion.onnx", FaceSpace.load(PACK / "motion_space.npz"))


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    return SpeechEncoder(PACK / "speech_encoder.onnx")


@pytest.fixture(scope="module")
def sentence(encoder) -> np.ndarray:
    return rows(encoder.extract(read_audio(ROOT / "example" / "sentence.wav")))


@pytest.fixture
def start() -> np.ndarray:
    frame = np.zeros((1, 265), np.float32)
    for part, degrees in zip((PITCH, YAW, ROLL), (5.0, -12.0, 2.0)):
        frame[:, part] = degrees_to_bins(degrees)
    frame[:, SCALE] = -0.6
    frame[:, TRANSLATION] = [0.1, 0.05, 0.0]
    return frame


def rows(features: np.ndarray, emotion: int = NEUTRAL) -> np.ndarray:
    weights = np.zeros((len(features), 8), np.float32)
    weights[:, emotion] = 8
    weights = np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)
    return np.concatenate([features, weights], axis=1).astype(np.float32)[None]


def whole(model: MotionModel, seed: int, start: np.ndarray, cond: np.ndarray) -> np.ndarray:
    """Motion (1, T, 265) of a condition (1, T, C) of any length, from overlapping windows."""
    sample, frames, edge = model.sampler(seed, 50), cond.shape[1], 10
    padded = np.pad(cond, ((0, 0), (0, model.window), (0, 0)), mode="edge")
    step = model.window - 2 * edge
    parts = [sample(start, padded[:, at : at + model.window], at) for at in range(0, frames, step)]
    joined = [parts[0][:, :edge], *(part[:, edge : edge + step] for part in parts)]
    return np.concatenate(joined, axis=1)[:, :frames]


def lips(motion: np.ndarray) -> np.ndarray:
    return motion[0, :, EXP].reshape(-1, 21, 3)


def opening(motion: np.ndarray) -> np.ndarray:
    exp = lips(motion)
    return (exp[:, LOWER_LIP, 1] - exp[:, UPPER_LIP, 1]) / MOUTH_WIDTH


def angles(motion: np.ndarray) -> np.ndarray:
    return np.stack([bins_to_degrees(motion[0, :, part]) for part in (PITCH, YAW, ROLL)], axis=1)


def test_shape_and_resting_parts(model, sentence, start):
    motion = model.sampler(0, 50)(start, sentence[:, :80], 0)
    assert motion.shape == (1, 80, 265)
    assert motion.dtype == np.float32
    assert np.isfinite(motion).all()
    assert not np.delete(lips(motion), LIP_SLOTS, axis=1).any()
    np.testing.assert_array_equal(motion[0, :, SCALE], np.repeat(start[:, SCALE], 80, axis=0))


def test_same_seed_same_motion_other_seed_other_head(model, sentence, start):
    first, again, other = (whole(model, seed, start, sentence) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(angles(first) - angles(other)).max() > 0.5
    np.testing.assert_array_equal(lips(first), lips(other))


def test_head_starts_at_the_source_pose(model, sentence, start):
    turned = angles(whole(model, 1, start, sentence))
    np.testing.assert_allclose(turned[0, 1:], [-12, 2], atol=0.01)
    assert abs(turned[0, 0] - 5) < 0.6  # a nod may have begun
    assert np.abs(turned - [5, -12, 2]).max() < 12


def test_head_motion_spread_and_speed():
    runs = [HeadMotion(seed)(np.arange(1500)) for seed in range(12)]
    spread = np.mean([run[50:, :3].std(axis=0) for run in runs], axis=0)
    np.testing.assert_allclose(spread, [2.15, 2.7, 1.75], rtol=0.15)
    assert max(np.abs(np.diff(run[:, :3], axis=0)).max() for run in runs) < 2.5
    for run in runs:
        np.testing.assert_array_equal(run[0], 0)


def test_head_motion_depends_on_the_absolute_frame_only():
    head = HeadMotion(5)
    np.testing.assert_allclose(head(np.arange(100, 140)), head(np.arange(60, 180))[40:80], atol=1e-9)
    assert not head(np.arange(-20, 1)).any()


@pytest.mark.parametrize("kind", ["silence", "hiss", "hum"])
def test_mouth_rests_closed_without_speech(model, encoder, start, kind):
    rng = np.random.default_rng(0)
    audio = {
        "silence": np.zeros(51200),
        "hiss": 0.1 * rng.normal(size=51200),
        "hum": 0.2 * np.sin(np.arange(51200) * 2 * np.pi * 50 / 16000),
    }[kind].astype(np.float32)
    motion = model.sampler(0, 50)(start, rows(encoder.extract(audio)), 0)
    assert not lips(motion).any()
    assert angles(motion).std(axis=0).min() > 0.05


def test_lips_move_in_speech_and_never_cross(model, sentence, start):
    apart = opening(whole(model, 0, start, sentence))
    assert np.percentile(apart, 95) > 0.15
    assert apart.max() < 0.6
    assert apart.min() > -1e-4


def test_lips_are_sealed_at_labelled_closures(model, sentence, start):
    apart = opening(whole(model, 0, start, sentence))
    phones = json.loads((GOLDEN / "sentence_phones.json").read_text())["phones"]
    begins = [0.0, *(end for _, end in phones[:-1])]
    closures = [(begin + end) / 2 for begin, (name, end) in zip(begins, phones) if name in ("b", "p", "m")]
    assert len(closures) >= 10
    sealed = []
    for middle in closures:
        frame = middle * 25 - 0.5
        near = slice(max(0, int(np.floor(frame)) - 1), int(np.ceil(frame)) + 2)
        sealed.append(apart[near].min() < 0.01)
    assert np.mean(sealed) >= 0.9


def test_closures_survive_emotions(model, sentence, start):
    neutral = opening(whole(model, 0, start, sentence))
    surprised = sentence.copy()
    surprised[..., -8:] = 0
    surprised[..., -8 + SURPRISE] = 1
    apart = opening(whole(model, 0, start, surprised))
    voiced = neutral > 0.05
    assert (apart[voiced] > neutral[voiced]).all()
    sealed = np.flatnonzero(neutral[10:-10] < 1e-3) + 10
    assert np.median(apart[sealed]) < 0.02


def test_happy_lifts_and_widens_the_corners(model, sentence, start):
    happy = sentence.copy()
    happy[..., -8:] = 0
    happy[..., -8 + HAPPY] = 1
    change = (lips(whole(model, 0, start, happy)) - lips(whole(model, 0, start, sentence)))[:, 19:21]
    assert (change[..., 1] < -0.01).all()
    assert (change[:, 0, 0] < 0).all() and (change[:, 1, 0] > 0).all()


def test_overlapping_windows_agree_away_from_their_edges(model, sentence, start):
    sample = model.sampler(2, 50)
    first, second = sample(start, sentence[:, :80], 0), sample(start, sentence[:, 15:95], 15)
    margin = 16
    inner = slice(15 + margin, 80 - margin)
    shifted = slice(margin, 65 - margin)
    apart = opening(first)[inner]
    assert np.abs(apart - opening(second)[shifted]).max() < 0.15 * np.ptp(apart)  # each sees all of its own window
    np.testing.assert_allclose(angles(first)[inner], angles(second)[shifted], atol=0.15)


def test_wrong_condition_is_refused(model, start):
    for frames, columns in ((80, 100), (79, COND_DIM)):
        with pytest.raises(ValueError, match=str(COND_DIM)):
            model.sampler(0, 50)(start, np.zeros((1, frames, columns), np.float32), 0)


def test_foreign_model_file_is_refused():
    with pytest.raises(PackError):
        MotionModel(PACK / "face_detection_short_range.onnx", FaceSpace.load(PACK / "motion_space.npz"))


@pytest.mark.parametrize("n", [60, 125, 1500, 15000])
def test_blinks_come_early_often_enough_and_whole(n):
    counts = []
    for seed in range(20):
        starts = np.flatnonzero(np.array(blinks(seed, n)) == 1)
        assert 20 <= starts[0] <= 50
        assert (np.diff(starts) >= 45).all()
        assert starts[-1] + len(BLINK_PROFILE) - 1 <= n
        counts.append(len(starts))
    if n >= 1500:
        assert 8 <= min(counts) * 1500 / n and max(counts) * 1500 / n <= 30


def blinks(seed: int, n: int) -> list[int]:
    rng = random.Random(seed)
    return blink_rows(n, len(BLINK_PROFILE), blink_intervals(rng, n), rng)


SHARED = ROOT.parent / "shared" / "data" / "clips" / "train"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the training clips are not here")
@pytest.mark.parametrize("clip", ["aoc_01", "opentalk_examples_face_4_01"])
def test_opening_follows_a_real_speaker(model, encoder, start, clip):
    from core.lite.face_tracker import FaceTracker
    from core.media import VideoReader

    space, tracker = FaceSpace.load(PACK / "motion_space.npz"), FaceTracker.load(PACK)
    real, mesh = [], None
    for frame in VideoReader(SHARED / f"{clip}.mp4"):
        mesh = tracker.static(frame)[0][0].mesh if mesh is None else tracker.track(frame, mesh).mesh
        upright = space.unpose(mesh)
        real.append((upright[14, 1] - upright[13, 1]) / np.linalg.norm(upright[61] - upright[291]))
    cond = rows(encoder.extract(read_audio(SHARED / f"{clip}.mp4")))
    made = opening(whole(model, 0, start, cond))
    n = min(len(made), len(real))
    assert np.corrcoef(made[:n], real[:n])[0, 1] > 0.5
