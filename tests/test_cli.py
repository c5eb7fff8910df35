"""The front door as users meet it: subprocesses, exit codes, one line of text, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
PORTRAIT = ROOT / "example" / "portrait.png"
SPEECH = ROOT / "example" / "speech.wav"


def run(*args: object, **kwargs) -> subprocess.CompletedProcess:
    """inference.py with these arguments."""
    command = [sys.executable, str(ROOT / "inference.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)


def job(tmp_path: Path, source: object = PORTRAIT, audio: object = SPEECH, output: object = None) -> list[object]:
    """Arguments of a job whose output goes to tmp_path/out/result.mp4 unless said otherwise."""
    output = tmp_path / "out" / "result.mp4" if output is None else output
    return ["--source_path", source, "--audio_path", audio, "--output_path", output]


def assert_refused(done: subprocess.CompletedProcess, *words: object) -> None:
    """Exit code 2 and exactly one line on stderr, which holds every word."""
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr
    assert done.stdout == ""


@pytest.fixture
def short_speech(tmp_path: Path) -> Path:
    """0.4 s of the example speech."""
    samples, rate = soundfile.read(SPEECH, frames=6400, start=16000)
    path = tmp_path / "short.wav"
    soundfile.write(path, samples, rate)
    return path


def test_missing_files(tmp_path):
    assert_refused(run(*job(tmp_path, source=tmp_path / "no.png")), "no.png", "no such")
    assert_refused(run(*job(tmp_path, audio=tmp_path / "no.wav")), "no.wav", "no such")
    assert not (tmp_path / "out").exists()


def test_source_that_is_no_picture_or_is_cut_off(tmp_path):
    text = tmp_path / "words.jpg"
    text.write_text("not a picture")
    assert_refused(run(*job(tmp_path, source=text)), "words.jpg", "not a picture")
    cut = tmp_path / "cut.png"
    cut.write_bytes(PORTRAIT.read_bytes()[:100_000])
    assert_refused(run(*job(tmp_path, source=cut)), "cut.png")
    assert not (tmp_path / "out").exists()


def test_picture_without_a_face_gives_the_best_score(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    path = tmp_path / "noise.png"
    cv2.imwrite(str(path), noise)
    assert_refused(run(*job(tmp_path, source=path)), "no face", "noise.png", "best score")
    assert not (tmp_path / "out").exists()


def test_audio_that_cannot_be_used(tmp_path):
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0), 16000)
    assert_refused(run(*job(tmp_path, audio=empty)), "empty.wav", "no sound")
    bad = tmp_path / "bad.wav"
    soundfile.write(bad, np.array([0.1, np.nan, 0.2] * 4000, np.float32), 16000, subtype="FLOAT")
    assert_refused(run(*job(tmp_path, audio=bad)), "bad.wav", "NaN")
    junk = tmp_path / "junk.mp3"
    junk.write_bytes(bytes(range(256)) * 40)
    assert_refused(run(*job(tmp_path, audio=junk)), "junk.mp3")
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written(tmp_path, short_speech):
    before = short_speech.read_bytes()
    named_mp4 = tmp_path / "speech.mp4"
    named_mp4.write_bytes(before)
    assert_refused(run(*job(tmp_path, audio=named_mp4, output=named_mp4)), "overwrite")
    assert named_mp4.read_bytes() == before
    assert_refused(run(*job(tmp_path, audio=short_speech, output=tmp_path / "x.avi")), ".avi", ".mp4")
    assert_refused(run(*job(tmp_path, audio=short_speech, output="/proc/result.mp4")), "cannot write")


def test_unknown_flag_value_and_pack(tmp_path):
    assert_refused(run("--sorce_path", "x.png"), "--sorce_path", "did you mean --source_path")
    assert_refused(run(*job(tmp_path), "--emo", "hapy"), "hapy", "happy")
    assert_refused(run(*job(tmp_path), "--data_root", "checkpoints/ditto_lit"), "ditto_lit", "ditto_lite")
    assert_refused(run(*job(tmp_path), "--overlap_v2", "80"), "overlap_v2", "80")
    assert_refused(run(*job(tmp_path), "--crop_scale", "-1"), "crop_scale", "-1.0", "1.0 .. 8.0")
    assert_refused(run(*job(tmp_path), "--crf", "99"), "crf", "99", "0 .. 51")
    assert_refused(run(*job(tmp_path), "--seed", "-1"), "seed", "-1")
    assert not (tmp_path / "out").exists()


def test_damaged_pack_file(tmp_path):
    pack = tmp_path / "pack"
    pack.mkdir()
    for file in (ROOT / "checkpoints" / "ditto_lite").iterdir():
        (pack / file.name).write_bytes(file.read_bytes())
    model = pack / "face_landmark_with_attention.onnx"
    model.write_bytes(model.read_bytes()[:5000])
    assert_refused(run(*job(tmp_path), "--data_root", pack), model.name, "damaged")
    model.unlink()
    (pack / "speech_encoder.onnx").unlink()
    assert_refused(run(*job(tmp_path), "--data_root", pack), model.name, "speech_encoder.onnx")


def test_paths_with_spaces_and_other_letters(tmp_path, short_speech):
    folder = tmp_path / "mein Ordner 説明"
    folder.mkdir()
    source, audio, output = folder / "bild ü.png", folder / "ton é.wav", folder / "neu" / "vidéo 1.mp4"
    source.write_bytes(PORTRAIT.read_bytes())
    audio.write_bytes(short_speech.read_bytes())
    done = run(*job(tmp_path, source, audio, output))
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size > 5000
    assert "10 frames" in done.stdout and "vidéo 1.mp4" in done.stdout and "real-time factor" in done.stdout


def test_online_tells_the_delay(tmp_path, short_speech):
    done = run(*job(tmp_path, audio=short_speech), "--online", "--pace", "--chunksize", 3, 5, 2, "--first_chunk", 2)
    assert done.returncode == 0, done.stderr
    assert "10 frames" in done.stdout and "ms of audio +" in done.stdout and "late" in done.stdout
    assert_refused(run(*job(tmp_path), "--online", "--overlap_v2", "10"), "overlap_v2", "10", "40 .. 79")
    assert_refused(run(*job(tmp_path), "--pace"), "pace", "online")


def test_two_faces_are_noted(tmp_path, short_speech):
    left = cv2.imread(str(PORTRAIT))
    right = cv2.resize(left, (384, 384))
    pair = np.full((512, 896, 3), 200, np.uint8)
    pair[:, :512], pair[128:, 512:] = left, right
    path = tmp_path / "pair.png"
    cv2.imwrite(str(path), pair)
    done = run(*job(tmp_path, source=path, audio=short_speech))
    assert done.returncode == 0, done.stderr
    assert "2 faces" in done.stderr and "largest" in done.stderr


def test_quiet_prints_nothing(tmp_path, short_speech):
    done = run(*job(tmp_path, audio=short_speech), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(tmp_path, kind):
    long = tmp_path / "long.wav"
    samples, rate = soundfile.read(SPEECH)
    soundfile.write(long, np.resize(samples, 60 * rate), rate)
    command = [sys.executable, str(ROOT / "inference.py"), *map(str, job(tmp_path, audio=long))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/.ditto-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # in the middle of the frames
    process.send_signal(kind)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors and "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_disk_full(tmp_path):
    """A limit on the file size stands for a full disk: the write fails in the middle of the run."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "
        "from inference import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, job(tmp_path)), "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert_refused(done, "result.mp4", "cannot write")
    assert not (tmp_path / "out").exists()
