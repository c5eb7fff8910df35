"""The main job on real input: the video is decoded again and looked at with the pack's own face mesh."""

from __future__ import annotations

import json
import time
from pathlib import Path

import av
import numpy as np
import pytest

from core.errors import InputError, StageError
from core.lite.face_tracker import FaceTracker
from core.media import SYNTHETIC_TAG, read_audio, read_image
from core.motion import SAMPLE_RATE, SAMPLES_PER_FRAME, num_frames
from core.packs.pack import EMBEDDED
from core.sdk import RunResult, StreamSDK

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"  # third-party pictures and recordings, not part of the project
PORTRAIT = ROOT / "example" / "portrait.png"
HOPPER = ROOT / "tests" / "data" / "grace_hopper.jpg"
SPEECH = ROOT / "example" / "speech.wav"
SENTENCE = ROOT / "example" / "sentence.wav"


@pytest.fixture(scope="module")
def sdk() -> StreamSDK:
    return StreamSDK()


@pytest.fixture(scope="module")
def tracker() -> FaceTracker:
    return FaceTracker.load(EMBEDDED)


@pytest.fixture(scope="module")
def speech_run(sdk, tmp_path_factory) -> RunResult:
    return sdk.run(PORTRAIT, SPEECH, tmp_path_factory.mktemp("speech") / "out.mp4")


@pytest.fixture(scope="module")
def sentence_run(sdk, tmp_path_factory) -> RunResult:
    return sdk.run(HOPPER, SENTENCE, tmp_path_factory.mktemp("sentence") / "out.mp4")


def frames_of(path: Path) -> np.ndarray:
    """(n, H, W, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def sound_of(path: Path) -> np.ndarray:
    """Samples of the sound track."""
    return read_audio(path)


def meshes_of(frames: np.ndarray, tracker: FaceTracker) -> np.ndarray:
    """(n, 478, 3) tracked through the video."""
    face = tracker.static(frames[0])[0][0]
    meshes = []
    for frame in frames:
        face = tracker.track(frame, face.mesh)
        assert face is not None
        meshes.append(face.mesh)
    return np.stack(meshes)


def opening_of(meshes: np.ndarray) -> np.ndarray:
    """(n,) inner lip gap over mouth width."""
    gap = np.linalg.norm(meshes[:, 13, :2] - meshes[:, 14, :2], axis=1)
    return gap / np.linalg.norm(meshes[:, 61, :2] - meshes[:, 291, :2], axis=1)


def write_wav(path: Path, samples: np.ndarray) -> Path:
    import soundfile

    soundfile.write(path, samples, SAMPLE_RATE)
    return path


def test_container_frames_and_sound(speech_run):
    samples = read_audio(SPEECH)
    with av.open(str(speech_run.output)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt, video.average_rate) == ("h264", "yuv420p", 25)
        assert audio.codec_context.name == "aac"
        assert container.metadata["comment"] == SYNTHETIC_TAG
        assert abs(float(video.duration * video.time_base) - len(samples) / SAMPLE_RATE) <= 0.04
    assert len(frames_of(speech_run.output)) == speech_run.frames == (len(samples) + 639) // 640


def test_sound_is_the_recording(speech_run):
    original, decoded = read_audio(SPEECH), sound_of(speech_run.output)
    n = min(len(original), len(decoded))
    assert n >= len(original) - SAMPLES_PER_FRAME
    assert np.corrcoef(original[:n], decoded[:n])[0, 1] > 0.98  # a shift of one frame would bring it near 0


def test_faststart(speech_run):
    data = speech_run.output.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_corners_are_the_portrait(speech_run):
    source = read_image(PORTRAIT).astype(float)
    for frame in frames_of(speech_run.output)[::25].astype(float):
        for rows in (slice(0, 24), slice(-24, None)):
            for columns in (slice(0, 24), slice(-24, None)):
                assert np.abs(frame[rows, columns] - source[rows, columns]).mean() < 6  # codec loss only


def test_lips_close_at_labelled_m_b_p(sentence_run, tracker):
    opening = opening_of(meshes_of(frames_of(sentence_run.output), tracker))
    phones = json.loads((ROOT / "tests" / "golden" / "sentence_phones.json").read_text())["phones"]
    open_level = np.percentile(opening, 80)
    starts = [0.0, *(end for _, end in phones[:-1])]
    closures = [
        opening[max(0, int(25 * start) - 1) : int(np.ceil(25 * end)) + 1].min()
        for start, (phone, end) in zip(starts, phones)
        if phone in ("m", "b", "p")
    ]
    assert len(closures) >= 8
    assert open_level > 0.08
    assert np.mean(np.array(closures) < 0.35 * open_level) >= 0.9
    assert np.median(closures) < 0.2 * open_level


def test_speech_opens_the_lips_and_silence_does_not(sdk, tracker, sentence_run, tmp_path):
    silence = write_wav(tmp_path / "s.wav", np.zeros(6 * SAMPLE_RATE))
    quiet = sdk.run(HOPPER, silence, tmp_path / "quiet.mp4")
    meshes = meshes_of(frames_of(quiet.output), tracker)
    resting = opening_of(meshes)
    talking = opening_of(meshes_of(frames_of(sentence_run.output), tracker))
    assert np.percentile(resting, 95) < 0.03
    assert np.percentile(talking, 75) > np.percentile(resting, 95) + 0.05
    nose = meshes[:, 4, :2]
    assert 0.3 < np.ptp(nose, axis=0).max() < 40, "alive, but at rest"
    lids = np.linalg.norm(meshes[:, 159, :2] - meshes[:, 145, :2], axis=1)
    assert lids.min() < 0.5 * np.median(lids), "it blinks"


def test_seed_decides(sdk, tmp_path):
    speech = write_wav(tmp_path / "s.wav", read_audio(SPEECH)[16000:48000])
    first, again, other = (
        frames_of(sdk.run(PORTRAIT, speech, tmp_path / f"{name}.mp4", seed=seed).output)
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )
    assert np.array_equal(first, again)
    assert np.abs(first[-1].astype(int) - other[-1]).max() > 20


def test_fades_start_and_end_in_the_source_pose(sdk, tmp_path):
    speech = write_wav(tmp_path / "s.wav", read_audio(SPEECH)[16000:48000])
    frames = frames_of(sdk.run(PORTRAIT, speech, tmp_path / "out.mp4", fade_in=10, fade_out=10).output).astype(float)
    source = read_image(PORTRAIT).astype(float)
    change = np.abs(frames - source)[:, 40:200, 150:300].mean(axis=(1, 2, 3))  # the head
    assert max(change[0], change[-1]) < 0.7 * np.median(change)
    assert max(change[0], change[-1]) < 5


def test_emotion_moves_the_mouth_corners(sdk, tracker, tmp_path):
    speech = write_wav(tmp_path / "s.wav", read_audio(SENTENCE)[:32000])
    lift = {}
    for emotion in ("happy", "neutral", "sad"):
        result = sdk.run(HOPPER, speech, tmp_path / f"{emotion}.mp4", emo=emotion)
        meshes = meshes_of(frames_of(result.output), tracker)
        middle = meshes[:, (0, 17), 1].mean(axis=1)
        lift[emotion] = np.median(middle - meshes[:, (61, 291), 1].mean(axis=1))  # pixels, up is positive
    assert lift["happy"] > lift["neutral"] + 0.5
    assert lift["sad"] < lift["neutral"] - 0.5


@pytest.mark.parametrize(
    ("portrait", "speech"),
    [
        ("man_bald.jpg", "de_44k_stereo.mp3"),
        ("gray_moustache_1ch.jpg", "zh_news_8k.wav"),
        ("woman_red_hair.jpg", "fr_female.wav"),
        ("alpha_man_microphone.png", "short_0p3s.wav"),
    ],
)
def test_other_people_and_languages(sdk, tracker, tmp_path, portrait, speech):
    source, audio = SHARED / "portraits" / portrait, SHARED / "audio" / speech
    if not (source.exists() and audio.exists()):
        pytest.skip(f"{source} or {audio} is not here")
    result = sdk.run(source, audio, tmp_path / "out.mp4")
    frames = frames_of(result.output)
    assert len(frames) == num_frames(len(read_audio(audio)))
    opening = opening_of(meshes_of(frames[:100], tracker))
    if len(frames) > 25:
        assert np.percentile(opening, 10) < 0.04 and np.percentile(opening, 90) > 0.08


@pytest.mark.parametrize("seconds", [1 / SAMPLE_RATE, 0.2])
def test_very_short_audio(sdk, tmp_path, seconds):
    samples = read_audio(SPEECH)[20000 : 20000 + round(seconds * SAMPLE_RATE)]
    result = sdk.run(PORTRAIT, write_wav(tmp_path / "s.wav", samples), tmp_path / "out.mp4")
    assert len(frames_of(result.output)) == num_frames(len(samples))


@pytest.fixture(scope="module")
def online_run(sdk, tmp_path_factory) -> RunResult:
    return sdk.run(HOPPER, SENTENCE, tmp_path_factory.mktemp("online") / "out.mp4", online_mode=True)


def test_online_frames_sound_and_delay(online_run):
    samples, decoded = read_audio(SENTENCE), sound_of(online_run.output)
    assert len(frames_of(online_run.output)) == online_run.frames == num_frames(len(samples))
    n = min(len(samples), len(decoded))
    assert np.corrcoef(samples[:n], decoded[:n])[0, 1] > 0.98
    assert 0.2 < online_run.live.audio_needed <= 0.62 and online_run.live.compute > 0
    assert online_run.live.late is None


def test_online_lips_are_those_of_the_whole_recording_and_in_time(online_run, sentence_run, tracker):
    live, whole = (opening_of(meshes_of(frames_of(run.output), tracker)) for run in (online_run, sentence_run))

    def likeness(shift: int) -> float:
        return np.corrcoef(np.roll(live, shift)[5:-5], whole[5:-5])[0, 1]

    assert likeness(0) > 0.85
    assert max(range(-4, 5), key=likeness) == 0
    assert 0.75 < live.std() / whole.std() < 1.3


def test_pace_counts_late_frames(sdk, tmp_path):
    speech = write_wav(tmp_path / "s.wav", read_audio(SPEECH)[16000:32000])
    result = sdk.run(PORTRAIT, speech, tmp_path / "out.mp4", online_mode=True, pace=True)
    assert result.elapsed >= 1 and result.frames == 25
    assert 0 <= result.live.late < 25 and (result.live.worst > 0) == (result.live.late > 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"online_mode": True, "overlap_v2": 10}, r"overlap_v2 is 10; online mode needs 40 \.\. 79"),
        ({"online_mode": True, "overlap_v2": 80}, r"overlap_v2 is 80.* 79"),
        ({"online_mode": True, "first_chunk": 40}, r"first_chunk is 40"),
        ({"pace": True}, "pace is for online mode"),
        ({"chunksize": (1, 2)}, "'chunksize' is .*3 whole numbers"),
    ],
)
def test_options_that_do_not_fit_the_mode(sdk, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        sdk.run(PORTRAIT, SPEECH, tmp_path / "out" / "x.mp4", **options)
    assert not (tmp_path / "out").exists()


def test_progress_reaches_the_end(sdk, tmp_path):
    calls = []
    speech = write_wav(tmp_path / "s.wav", read_audio(SPEECH)[:16000])
    sdk.run(PORTRAIT, speech, tmp_path / "out.mp4", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 25) for i in range(1, 26)]


def test_a_stage_that_dies_ends_the_run(tmp_path):
    sdk = StreamSDK()
    decode, calls = sdk.models.decode, []

    def dies(volume):
        calls.append(time.monotonic())
        if len(calls) == 20:
            raise RuntimeError("boom")
        return decode(volume)

    object.__setattr__(sdk.models, "decode", dies)
    with pytest.raises(StageError, match="decode_f3d.*boom"):
        sdk.run(PORTRAIT, SPEECH, tmp_path / "out" / "x.mp4")
    assert time.monotonic() - calls[-1] < 2
    assert not (tmp_path / "out").exists()
    object.__setattr__(sdk.models, "decode", decode)
    short = write_wav(tmp_path / "s.wav", read_audio(SPEECH)[:6400])
    assert sdk.run(PORTRAIT, short, tmp_path / "y.mp4").frames == 10  # the same object works for the next job
