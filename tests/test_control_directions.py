"""Each control does on the picture what its name says: videos of the embedded pack, measured by the evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.lite.face_tracker import FaceTracker
from core.lite.motion_space import LEFT_CORNER, RIGHT_CORNER, FaceSpace
from core.packs.pack import EMBEDDED
from core.sdk import StreamSDK
from core.settings.control_files import resolve_controls
from scripts.evaluation.track import Track, track_video

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = ROOT / "example" / "sentence.wav"
FRAMES = 12
STILL = {"amp_pitch": 0, "amp_yaw": 0, "amp_roll": 0, "blink_rate": 0}  # what would move by itself
EYES = ((33, 133, 468), (362, 263, 473))  # left corner, right corner, iris


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    """track(**controls) -> the face through a short video made with them; each is made once."""
    folder = tmp_path_factory.mktemp("controls")
    sdk = StreamSDK()
    avatar = sdk.register(ROOT / "example" / "portrait.png")
    tracker, space = FaceTracker.load(EMBEDDED), FaceSpace.load(EMBEDDED / "motion_space.npz")
    made: dict[str, Track] = {}

    def measure(frames: int = FRAMES, **controls) -> Track:
        key = repr((frames, sorted(controls.items())))
        if key not in made:
            samples, rate = soundfile.read(SENTENCE, frames=640 * frames, start=6400)
            audio, video = folder / "a.wav", folder / "v.mp4"
            soundfile.write(audio, np.resize(samples, 640 * frames), rate)
            sdk.run(avatar, audio, video, **resolve_controls(controls))
            made[key] = track_video(video, tracker, space)
        return made[key]

    return measure


def corners(track: Track) -> tuple[float, float]:
    """Height of the mouth corners, downwards, and distance between them, in eye distances."""
    points = track.upright[4:, track.keypoints]
    left, right = points[:, LEFT_CORNER], points[:, RIGHT_CORNER]
    return float(np.mean((left + right)[:, 1] / 2)), float(np.mean(right[:, 0] - left[:, 0]))


def iris(track: Track) -> np.ndarray:
    """(2,) where the irises lie in their eyes, right and up from the middle between the corners, in eye widths."""
    out = []
    for left, right, centre in EYES:
        a, b, c = (track.upright[4:, i, :2] for i in (left, right, centre))
        width = np.linalg.norm(b - a, axis=1)
        offset = c - (a + b) / 2
        out.append(np.stack([offset[:, 0] / width, -offset[:, 1] / width], 1).mean(axis=0))
    return np.mean(out, axis=0)


def brow(track: Track) -> float:
    """Height of the brows above the eyes, in eye distances."""
    face = track.upright[4:]
    return float(np.mean(face[:, [33, 263], 1].mean(axis=1) - face[:, [105, 334], 1].mean(axis=1)))


def angle(track: Track, axis: str) -> np.ndarray:
    return track.angles[:, ("pitch", "yaw", "roll").index(axis)]


@pytest.mark.parametrize("axis", ["pitch", "yaw", "roll"])
@pytest.mark.parametrize("degrees", [5, -5])
def test_head_turns_by_so_many_degrees(track, axis, degrees):
    change = angle(track(**STILL, **{f"delta_{axis}": degrees}), axis) - angle(track(**STILL), axis)
    assert change.mean() == pytest.approx(degrees, abs=1.0)


def test_amplitudes_scale_the_motion_of_the_head(track):
    quiet = {"blink_rate": 0, "vad_alpha": 0}  # a chin that moves is taken for a nod
    full, still = track(50, **quiet), track(50, **STILL, vad_alpha=0)
    large = track(50, **quiet, amp_pitch=2, amp_yaw=2, amp_roll=2)
    for axis in ("pitch", "yaw", "roll"):
        size = [np.ptp(angle(made, axis)) for made in (still, full, large)]
        assert size[0] < 0.5 * size[1] and size[2] > 1.5 * size[1], axis


def test_amp_exp_scales_the_lips(track):
    size = [np.ptp(track(**STILL, amp_exp=amount).opening) for amount in (0.4, 1, 1.6)]
    assert size[0] < 0.75 * size[1] and size[2] > 1.2 * size[1]


def test_vad_alpha_rests_the_lips(track):
    assert np.ptp(track(**STILL, vad_alpha=0).opening) < 0.3 * np.ptp(track(**STILL).opening)


def test_smile(track):
    plain, smile, opposite = (corners(track(**STILL, smile=amount)) for amount in (0, 1, -1))
    assert smile[0] < plain[0] - 0.02 and smile[1] > plain[1] + 0.03
    assert opposite[0] > plain[0] + 0.015


@pytest.mark.parametrize("control, axis", [("gaze_x", 0), ("gaze_y", 1)])
def test_gaze(track, control, axis):
    plus, none, minus = (iris(track(**STILL, **{control: amount}))[axis] for amount in (25, 0, -25))
    least = 0.06 if axis == 0 else 0.01
    assert plus > none + least and minus < none - least


def test_eyes_stay_on_the_viewer(track):
    turned = {**STILL, "delta_yaw": 6}
    assert iris(track(**turned, gaze_follow=True))[0] > iris(track(**turned))[0] + 0.01


def test_eye_openness(track):
    wide, plain, narrow, shut = (track(**STILL, eye_open=x).eye_open[4:].mean() for x in (1, 0, -0.5, -1))
    assert wide > 1.1 * plain and narrow < 0.85 * plain and shut < 0.5 * plain


def test_blink_rate(track):
    few, many = (track(75, **{**STILL, "blink_rate": rate}).eye_open for rate in (0, 60))
    shut = many < 0.6 * np.median(few)
    assert not (few < 0.6 * np.median(few)).any()
    assert 2 <= np.count_nonzero(np.diff(shut.astype(int)) == 1) <= 4
    assert not shut[-1]


def test_emotions_differ(track):
    """Every two of the eight differ where it shows: corners' height and distance, lips, brows, lids."""
    names = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "contempt")
    faces = [track(**STILL, emo=name).upright[6:].mean(axis=0)[:, :2] for name in names]
    for i, a in enumerate(faces):
        for j in range(i):
            moved = np.linalg.norm(a - faces[j], axis=1)
            assert np.percentile(moved, 95) > 0.012, (names[i], names[j])
    heights = {name: brow(track(**STILL, emo=name)) for name in names}
    assert heights["surprise"] > heights["neutral"] + 0.03 and heights["angry"] < heights["neutral"] - 0.015


def test_strength_of_an_emotion(track):
    plain = corners(track(**STILL))[0]
    half, full = (plain - corners(track(**STILL, emo="happy", emo_strength=s))[0] for s in (0.5, 1))
    mixed = plain - corners(track(**STILL, emo="happy:0.5"))[0]
    assert 0.3 * full < half < 0.75 * full and mixed == pytest.approx(half, abs=0.004)


def test_a_timeline_changes_it_on_the_way(track, tmp_path):
    path = tmp_path / "turn.csv"
    path.write_text("time,delta_yaw,emo\n0,0,neutral\n0.4,0,\n0.8,6,surprise\n")
    made = track(50, **STILL, ctrl=str(path))
    yaw = angle(made, "yaw")
    assert yaw[30:].mean() - yaw[2:9].mean() == pytest.approx(6, abs=1.2)
    brows = made.upright[:, [105, 334], 1].mean(axis=1)
    assert brows[35:].mean() < brows[2:9].mean() - 0.03
    assert np.abs(np.diff(yaw)).max() < 1.5
