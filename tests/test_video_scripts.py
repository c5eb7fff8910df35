"""The fork's video scripts as users call them, on the example video at small sizes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import inference
from core.media import VideoReader

ROOT = Path(__file__).resolve().parent.parent
VIDEO = ROOT / "example" / "avatar.mp4"
SMALL = ("--max_size", 192, "--template_n_frames", 6)


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    samples, rate = soundfile.read(ROOT / "example" / "speech.wav", frames=6400, start=16000)
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, samples, rate)
    return path


def script(name: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def files(speech: Path, output: Path, video: Path = VIDEO) -> tuple:
    return "--source_video", video, "--audio", speech, "--output", output, *SMALL


@pytest.mark.parametrize("name, arguments", [
    ("inference_video.py", ("--drive_eye", "true")),
    ("inference_video_preserve_motion.py", ("--motion_frames", 5)),
    ("inference_video_blend_control.py", ("--blend_mode", "custom", "--blend_alpha", 0.5)),
    ("inference_video_advanced.py", ("--motion_frames", 5, "--blend_mode", "strong")),
])  # fmt: skip
def test_scripts_make_their_video(tmp_path, speech, name, arguments):
    done = script(name, *files(speech, tmp_path / "out.mp4"), *arguments)
    assert done.returncode == 0, done.stderr
    assert "10 frames" in done.stdout and done.stderr == ""
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].frames == 10 and len(container.streams.audio) == 1


@pytest.mark.parametrize("name, arguments, words", [
    ("inference_video.py", ("--audio", "a.wav"), "--source_video, --output must be given"),
    ("inference_video.py", ("--drive_eye", "maybe"), "'maybe' is not auto, true or false"),
    ("inference_video_blend_control.py", ("--blend_alpha", 0.5), "blend_alpha is 0.5, but blend_mode is 'blend'"),
    ("inference_video_blend_control.py", ("--blend_mode", "custom"), "add --blend_alpha"),
    ("inference_video_blend_control.py", ("--blend_mode", "custom", "--blend_alpha", 1.5), "must be 0.0 .. 1.0"),
    ("inference_video_blend_control.py", ("--blend_mode", "hard"), "invalid choice: 'hard'"),
    ("inference_video.py", ("--fps", 0), "option 'fps' is 0.0"),
    ("inference_video.py", ("--reference_frame", "first"), "neither auto nor the number of a frame"),
    ("inference_video.py", ("--encoder", "x264"), "invalid choice: 'x264'"),
])  # fmt: skip
def test_what_cannot_be_meant_is_explained(tmp_path, speech, capsys, name, arguments, words):
    """In this process, since nothing is loaded before these are found."""
    given = arguments if "--audio" in arguments else (*files(speech, tmp_path / "o" / "out.mp4"), *arguments)
    extra = {"blend_mode": "blend"} if "blend" in name else {}
    required = ("source_path", "audio_path", "output_path")
    try:
        code = inference.main([str(item) for item in given], required, **extra)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr().err
    assert code == 2 and words in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_a_picture_has_no_motion_to_preserve(tmp_path, speech):
    portrait = ROOT / "example" / "portrait.png"
    done = script("inference_video_preserve_motion.py", *files(speech, tmp_path / "o" / "out.mp4", portrait))
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "o").exists()
    assert "portrait.png: is a picture, which has no motion to preserve; give a video" in done.stderr


def test_half_transparent_lips_are_half_way(tmp_path, speech):
    """The face that the embedded pack lays over the example video differs around the mouth only, and by half there."""
    videos = []
    for name, more in (("full", []), ("weak", ["--blend_mode", "weak"])):
        flags = [str(item) for item in files(speech, tmp_path / f"{name}.mp4")]
        assert inference.main([*flags, "--quiet", "--crf", "2", *more]) == 0
        videos.append(grey(tmp_path / f"{name}.mp4"))
    full, weak = (np.abs(video - grey(VIDEO)).mean(axis=0) for video in videos)
    moved = full > 10
    assert moved.any() and weak[moved].mean() == pytest.approx(full[moved].mean() / 2, rel=0.15)
    rows = np.flatnonzero(moved.any(axis=1))
    assert rows.min() > 40 and rows.max() < 130


def grey(path: Path) -> np.ndarray:
    """The first 6 frames without their colours, which an mp4 of this size blurs."""
    return np.stack([picture @ [0.299, 0.587, 0.114] for _, picture in zip(range(6), VideoReader(path, 192))])
