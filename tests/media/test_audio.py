"""Sound: any rate, channels and container give 16 kHz mono float32 of the right length; bad files are named."""

import math
import os

import av
import numpy as np
import pytest
import soundfile

from core.errors import InputError
from core.media import is_video, read_audio, read_image


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def off(a: np.ndarray, b: np.ndarray, edge: int = 400) -> float:
    """Largest difference away from the ends."""
    length = min(len(a), len(b)) - edge
    return float(np.abs(a[edge:length] - b[edge:length]).max())


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_any_rate_keeps_time_and_level(tmp_path, rate):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate, 1.003), rate, subtype="FLOAT")
    samples = read_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert len(samples) == math.ceil(int(rate * 1.003) * 16000 / rate)
    assert off(samples, tone(16000, 1.003)) < 0.002


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    left = tone(16000)
    soundfile.write(path, np.stack([left, 0 * left, -left, left], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), left / 4, atol=1e-6)


@pytest.mark.parametrize("name, subtype", [("a.flac", None), ("a.ogg", None), ("a.mp3", None), ("a.wav", "PCM_24")])
def test_kinds_that_libsndfile_reads(tmp_path, name, subtype):
    path = tmp_path / name
    soundfile.write(path, tone(44100), 44100, subtype=subtype)
    samples = read_audio(path)
    assert abs(len(samples) - 16000) < 2000 and off(samples, tone(16000), 3000) < 0.1


def write_with_ffmpeg(path, samples, rate, codec):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "name, codec, rate", [("a.m4a", "aac", 44100), ("a.webm", "libopus", 48000), ("a.mka", "ac3", 48000)]
)
def test_kinds_that_ffmpeg_reads(tmp_path, name, codec, rate):
    path = write_with_ffmpeg(tmp_path / name, tone(rate), rate, codec)
    samples = read_audio(path)
    assert abs(len(samples) - 16000) < 1100 and off(samples, tone(16000), 2000) < 0.1
    assert not is_video(path)


def test_short_and_silent_audio_is_fine(tmp_path):
    soundfile.write(tmp_path / "short.wav", tone(16000, 0.2), 16000)
    assert len(read_audio(tmp_path / "short.wav")) == 3200
    soundfile.write(tmp_path / "one.wav", np.zeros(1), 48000)
    assert len(read_audio(tmp_path / "one.wav")) == 1
    soundfile.write(tmp_path / "stille – 静.wav", np.zeros(8000), 8000)
    assert not read_audio(tmp_path / "stille – 静.wav").any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_numbers(tmp_path, bad):
    samples = tone(16000)
    samples[-1] = bad
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN or infinite"):
        read_audio(tmp_path / "bad.wav")


def test_levels_that_are_no_sound(tmp_path):
    soundfile.write(tmp_path / "whole_numbers.wav", (tone(16000) * 2**23).astype(np.float32), 16000, subtype="FLOAT")
    assert len(read_audio(tmp_path / "whole_numbers.wav")) == 16000
    soundfile.write(tmp_path / "huge.wav", (tone(16000) * 1e30).astype(np.float32), 16000, subtype="FLOAT")
    with pytest.raises(InputError, match="samples above 1e.09"):
        read_audio(tmp_path / "huge.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for read in (read_audio, read_image):
        with pytest.raises(InputError, match="is a pipe; save"):
            read(tmp_path / "pipe.wav")


@pytest.mark.parametrize("name", ["a" * 300 + ".wav", "nul\0.wav"])
def test_names_that_cannot_be_looked_up(tmp_path, name):
    for read in (read_audio, read_image):
        with pytest.raises(InputError, match="cannot open"):
            read(tmp_path / name)


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "text.wav").write_text("this is not sound, whatever its name says")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "whole.flac", tone(16000), 16000)
    (tmp_path / "head.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:20])
    for name, text in [
        ("text.wav", "not an audio file"), ("empty.wav", "empty"), ("nothing.wav", "no sound"), ("none.wav", "no such"),
        (".", "is a directory"), ("head.flac", "head.flac"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=text) as caught:
            read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_cut_m4a_is_refused(tmp_path):
    path = write_with_ffmpeg(tmp_path / "a.m4a", tone(44100, 3), 44100, "aac")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="a.m4a"):
        read_audio(path)
