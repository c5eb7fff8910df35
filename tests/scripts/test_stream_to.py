"""scripts/stream_to.py: a file, a real RTMP connection, the standard input, and refused targets."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from core.media import read_audio

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = ROOT / "example" / "sentence.wav"


def run_script(*arguments: object, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "stream_to.py"), "--max_size", "256", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, cwd=ROOT, timeout=120, **more)


def loudness(path: Path) -> np.ndarray:
    samples = read_audio(path)
    return np.sqrt(np.mean(samples[: len(samples) // 640 * 640].reshape(-1, 640) ** 2, axis=1))


def test_idle_into_a_file(tmp_path):
    target = tmp_path / "idle.mp4"
    done = run_script("--sink", target, "--seconds", 2)
    assert done.returncode == 0, done.stderr
    with av.open(str(target)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 50
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 10  # it breathes and looks about
    assert loudness(target).max() < 1e-3


def test_speech_from_the_standard_input(tmp_path):
    target = tmp_path / "talk.mp4"
    pcm = (read_audio(SENTENCE)[:16000] * 32767).astype("<i2").tobytes()
    done = run_script("--sink", target, "--audio_path", "-", input=pcm)
    assert done.returncode == 0, done.stderr
    assert loudness(target).max() == pytest.approx(
        np.sqrt(np.mean(read_audio(SENTENCE)[:16000].reshape(-1, 640) ** 2, axis=1)).max(), rel=0.2
    )


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg plays the RTMP server")
def test_rtmp(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"rtmp://127.0.0.1:{free.getsockname()[1]}/live/avatar"
    received = tmp_path / "received.mkv"
    server = subprocess.Popen(["ffmpeg", "-v", "error", "-y", "-listen", "1", "-i", url, "-c", "copy", str(received)])
    try:
        done = run_script("--sink", url, "--audio_path", SENTENCE)
        assert done.returncode == 0, done.stderr
        server.wait(60)
    finally:
        server.kill()
        server.wait()
    with av.open(str(received)) as container:
        assert len(list(container.decode(video=0))) > 80
    assert loudness(received).max() > 0.03


@pytest.mark.parametrize(
    "sink, words",
    [
        ("picture.bmp", "cannot stream to"),
        ("/dev/video987", "no such device"),
        ("rtmp://127.0.0.1:1/x", "cannot stream there"),
    ],
)
def test_targets_that_cannot_be(sink, words):
    done = run_script("--sink", sink)
    assert done.returncode == 2
    assert words in done.stderr.decode() and done.stderr.count(b"\n") == 1
