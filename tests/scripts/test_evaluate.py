"""scripts/evaluate.py on media where the right answer is known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.lite.motion_space import RIGID
from core.media import VideoReader, VideoWriter, read_audio, read_image

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from scripts.evaluation import signals
from scripts.evaluation.measure import Evaluator
from scripts.evaluation.picture import Seam

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT, SPEECH = ROOT / "example" / "portrait.png", ROOT / "example" / "speech.wav"
SECONDS = 5


def write_video(path: Path, frames: list[np.ndarray], samples: np.ndarray, folder: Path) -> Path:
    """An mp4 of frames with the samples as its sound."""
    import soundfile

    sound = folder / f"{path.stem}.wav"
    soundfile.write(sound, samples, 16000)
    writer = VideoWriter(path, frames[0].shape[:2], 25, 12, audio=sound)
    for frame in frames:
        writer.write(frame)
    writer.close()
    return path


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(SPEECH)[: SECONDS * 16000]


@pytest.fixture(scope="module")
def talking(tmp_path_factory, speech) -> Path:
    """The example portrait speaking."""
    from core.sdk import StreamSDK

    folder = tmp_path_factory.mktemp("talking")
    import soundfile

    soundfile.write(folder / "speech.wav", speech, 16000)
    return (
        StreamSDK(data_root=ROOT / "checkpoints" / "ditto_lite")
        .run(PORTRAIT, folder / "speech.wav", folder / "talking.mp4")
        .output
    )


@pytest.fixture(scope="module")
def frames(talking) -> list[np.ndarray]:
    return list(VideoReader(talking))


@pytest.fixture(scope="module")
def original(evaluator, talking):
    return evaluator(talking, truth=talking, source=PORTRAIT)


def test_a_video_agrees_with_itself(original):
    found = original.measures
    assert found["opening_correlation"] == pytest.approx(1)
    assert found["opening_lag"] == pytest.approx(0, abs=1e-6)
    assert found["opening_range_ratio"] == pytest.approx(1)
    assert found["head_power_ratio"] == pytest.approx(1)
    assert abs(found["sync_offset"]) < 0.06 and found["sync_confidence"] > 0.25


def test_shifted_sound_is_measured(evaluator, original, frames, speech, tmp_path):
    late = np.concatenate([np.zeros(6 * 640, np.float32), speech])[: len(speech)]
    found = evaluator(write_video(tmp_path / "late.mp4", frames, late, tmp_path)).measures
    assert found["sync_offset"] - original.measures["sync_offset"] == pytest.approx(0.24, abs=0.03)


def test_frozen_mouth_is_noticed(evaluator, original, frames, speech, tmp_path):
    still = write_video(tmp_path / "still.mp4", frames[:1] * 60, speech[: 60 * 640], tmp_path)
    found = evaluator(still, truth=still).measures
    assert found["sync_confidence"] < 0.5 * original.measures["sync_confidence"]
    assert found["opening_p95"] < 0.5 * original.measures["opening_p95"]
    assert found["blinks_per_minute"] == 0


def test_injected_jitter_is_measured(evaluator, original, frames, speech, tmp_path):
    rng, deviation = np.random.default_rng(0), 3.0
    shaken = [
        cv2.warpAffine(f, np.array([[1, 0, dx], [0, 1, dy]]), f.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        for f, (dx, dy) in zip(frames[:50], deviation * rng.standard_normal((50, 2)))
    ]
    found = evaluator(write_video(tmp_path / "shaken.mp4", shaken, speech[: 50 * 640], tmp_path)).measures
    assert found["jitter"] > 2 * original.measures["jitter"]


def test_blur_and_colour_cast_are_measured(evaluator, original, frames, speech, tmp_path):
    spoiled = [cv2.GaussianBlur(f, (0, 0), 3) // 2 + np.array([90, 60, 60], np.uint8) for f in frames[:30]]
    video = write_video(tmp_path / "spoiled.mp4", spoiled, speech[: 30 * 640], tmp_path)
    found = evaluator(video, source=PORTRAIT).measures
    assert found["sharpness"] < 0.4 * original.measures["sharpness"]
    assert found["colour_drift"] > 3 * original.measures["colour_drift"]


def test_seam_counts_the_step_across_the_border():
    source = np.full((300, 300, 3), 100, np.uint8)
    matrix = np.array([[0.25, 0, 80], [0, 0.25, 90], [0, 0, 1]])
    pasted = source.copy()
    pasted[90:218, 80:208] += 7
    seam = Seam(source, matrix)
    seam(pasted, np.zeros((478, 3)))
    assert seam.measures()["seam"] == pytest.approx(7, abs=0.2)
    seam(source[:200], np.zeros((478, 3)))  # another size: cannot be compared
    assert seam.measures()["seam"] == pytest.approx(7, abs=0.2)


def test_jitter_of_white_noise_is_its_deviation():
    rng = np.random.default_rng(1)
    points = 100 * rng.random((1, len(RIGID), 2)) + 0.5 * rng.standard_normal((400, len(RIGID), 2))
    drift = 0.2 * np.arange(400)[:, None, None]
    assert signals.jitter(points + drift, np.full(400, 50.0)) == pytest.approx(1.0, rel=0.05)


def test_lag_and_its_sign():
    t = np.arange(200)
    early = np.sin(t / 5) + np.sin(t / 3.1)
    late = np.sin((t - 3.5) / 5) + np.sin((t - 3.5) / 3.1)
    found = signals.agreement(2 * late, early)
    assert found.lag == pytest.approx(3.5, abs=0.1)
    assert found.range_ratio == pytest.approx(2, rel=0.03) and found.best > 0.99 > found.correlation


def test_pauses_and_closures():
    rms = np.full(100, 0.1)
    rms[40:60] = 1e-4
    assert np.flatnonzero(signals.pauses(rms)).tolist() == list(range(44, 56))
    opening = np.full(100, 0.3)
    opening[[25, 76]] = 0.0
    assert signals.closures(opening, [(1.0, 1.04), (2.0, 2.08), (3.0, 3.04)]) == pytest.approx(2 / 3)


def test_blinks_are_counted_and_long_shut_eyes_are_not():
    lids = np.ones(500)
    for start, length in ((50, 4), (200, 5), (300, 40)):
        lids[start : start + length] = 0.2
    assert signals.blinks_per_minute(lids) == pytest.approx(60 * 25 * 2 / 500)


def test_head_motion_lands_in_its_band():
    t = np.arange(1000) / 25
    angles = np.stack([2 * np.sqrt(2) * np.sin(2 * np.pi * 1.0 * t), 0 * t, 0 * t], axis=1)
    power = signals.band_power(angles)
    assert power[1] == pytest.approx(2, rel=0.1) and max(power[0], power[2], power[3]) < 0.6


def test_figures_that_are_not_finite_become_null(tmp_path):
    pytest.importorskip("scripts.evaluation.report")
    from scripts.evaluation.report import save_json

    path = tmp_path / "new" / "figures.json"
    save_json(path, {"NaN.mp4": {"a": float("nan"), "b": -np.inf, "c": np.float32(0.5), "frames": 3}})
    assert json.loads(path.read_text()) == {"NaN.mp4": {"a": None, "b": None, "c": 0.5, "frames": 3}}


def test_figures_that_cannot_be_written_are_one_line(talking, tmp_path):
    (tmp_path / "file").touch()
    done = run_script(talking, "--json", tmp_path / "file" / "out.json")
    assert done.returncode == 2 and "cannot be written" in done.stderr and done.stderr.count("\n") == 1


def run_script(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240)


def test_command_compares_folders(talking, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.mp4").symlink_to(talking)
    (tmp_path / "a" / "broken.mp4").write_bytes(b"no video")
    figures, plots = tmp_path / "out.json", tmp_path / "plots"
    done = run_script(tmp_path / "a", "--against", tmp_path / "b", "--json", figures, "--plots", plots)
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stderr and "broken.mp4" in done.stderr
    found = json.loads(figures.read_text())
    medians = [group["median"] for group in found.values()]
    assert len(medians) == 2 and medians[0] == medians[1]
    assert {p.name for p in plots.iterdir()} == {"a_one.png", "b_one.png"}
    assert read_image(plots / "a_one.png", 0).std() > 5


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["missing.mp4"], "no such video"),
        ([SPEECH], "video"),
        ([ROOT / "tests" / "golden"], "no videos"),
    ],
)
def test_bad_input_is_one_line(arguments, words):
    done = run_script(*arguments)
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1
