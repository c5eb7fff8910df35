"""The sound in the written video is the recording: its rate, its channels, its length, from the first sample on."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from core.errors import InputError
from core.media import VideoWriter, read_audio
from core.media.audio_track import mix_to_stereo

FRAME = np.full((32, 32, 3), 128, np.uint8)


def tones(rate: int, hertz: list[float], seconds: float = 1.5) -> np.ndarray:
    """(n, channels) float32: a tone per channel, louder and softer 3 times a second; 0 Hz is silence."""
    time = np.arange(int(rate * seconds))[:, None] / rate
    return (0.4 * np.sin(2 * np.pi * np.array(hertz) * time) * np.sin(2 * np.pi * 1.5 * time)).astype(np.float32)


def write(folder: Path, samples: np.ndarray, rate: int, name: str = "in.wav") -> Path:
    """A video of the length of the sound."""
    soundfile.write(folder / name, samples, rate, subtype="FLOAT" if name.endswith("wav") else None)
    return write_from(folder, folder / name, len(samples) / rate)


def write_from(folder: Path, sound: Path, seconds: float) -> Path:
    writer = VideoWriter(folder / "out.mp4", FRAME.shape[:2], audio=sound)
    for _ in range(int(np.ceil(25 * seconds))):
        writer.write(FRAME)
    writer.close()
    return writer.path


def sound_of(path: Path) -> tuple[np.ndarray, int, float]:
    """Samples (n, channels), their rate, and the length in seconds that the file gives its sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        seconds = float(stream.duration * stream.time_base)
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)
        return samples.T, stream.rate, seconds


def likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of every channel of a with every channel of b, without any shift."""
    length = min(len(a), len(b))
    channels = a.shape[1]
    return np.corrcoef(a[:length].T, b[:length].T)[:channels, channels:]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("hertz", [[300.0], [300.0, 700.0]])
def test_rate_channels_and_places_are_those_of_the_recording(tmp_path, rate, hertz):
    recording = tones(rate, hertz)
    samples, found, seconds = sound_of(write(tmp_path, recording, rate))
    assert (found, samples.shape[1]) == (rate, len(hertz))
    assert abs(seconds - len(recording) / rate) <= 0.001
    np.testing.assert_allclose(likeness(recording, samples), np.eye(len(hertz)), atol=0.02)
    assert np.std(samples) == pytest.approx(np.std(recording), rel=0.03)


def test_96_khz_surround_becomes_48_khz_stereo(tmp_path):
    recording = tones(96000, [300, 700, 1100, 50, 1900, 2300])
    samples, rate, seconds = sound_of(write(tmp_path, recording, 96000))
    assert (rate, samples.shape[1]) == (48000, 2)
    assert abs(seconds - 1.5) <= 0.001
    left, right = likeness(samples, recording[::2])
    assert left[[0, 2, 4]].min() > 0.4 and np.abs(left[[1, 3, 5]]).max() < 0.03
    assert right[[1, 2, 5]].min() > 0.4 and np.abs(right[[0, 3, 4]]).max() < 0.03
    expected = mix_to_stereo(recording)[::2]
    np.testing.assert_allclose(likeness(samples, expected), likeness(expected, expected), atol=0.02)


def test_high_pitch_survives(tmp_path):
    """What the models hear ends at 8 kHz; what people hear does not."""
    recording = tones(44100, [9500.0, 12000.0])
    samples, _, _ = sound_of(write(tmp_path, recording, 44100))
    assert likeness(recording, samples).diagonal().min() > 0.98


@pytest.mark.parametrize("rate", [6000, 47999, 88200])
def test_other_rates_become_48_khz(tmp_path, rate):
    recording = tones(rate, [300.0])
    path = write(tmp_path, recording, rate)
    _, found, seconds = sound_of(path)
    assert found == 48000 and abs(seconds - len(recording) / rate) <= 0.001
    assert likeness(read_audio(tmp_path / "in.wav")[:, None], read_audio(path)[:, None]) > 0.98


def test_other_containers(tmp_path):
    recording = tones(44100, [300.0, 700.0])
    video = write(tmp_path, recording, 44100, "in.flac")
    (tmp_path / "again").mkdir()
    samples, rate, seconds = sound_of(write_from(tmp_path / "again", video, 1.5))  # through ffmpeg, from a video
    assert rate == 44100 and abs(seconds - 1.5) <= 1024 / 44100
    np.testing.assert_allclose(likeness(recording, samples), np.eye(2), atol=0.03)


@pytest.mark.parametrize("count", [100, 1023, 1024, 1025, 65536, 65537])
def test_lengths_around_the_blocks(tmp_path, count):
    _, _, seconds = sound_of(write(tmp_path, np.zeros((count, 1), np.float32), 48000))
    assert abs(seconds - count / 48000) <= 0.001  # the file counts in milliseconds


def test_a_single_sample_is_no_error(tmp_path):
    assert write(tmp_path, np.zeros((1, 1), np.float32), 48000).exists()


def test_mixing_never_clips_and_leaves_stereo_alone():
    for channels in range(1, 13):
        mixed = mix_to_stereo(np.ones((4, channels), np.float32))
        assert mixed.dtype == np.float32 and mixed.shape == (4, min(channels, 2))
        np.testing.assert_allclose(mixed, 1, atol=1e-6)
    centre = mix_to_stereo(np.eye(6, dtype=np.float32))
    assert centre[2, 0] == centre[2, 1] > 0 and not centre[3].any()
    assert centre[0, 0] > centre[4, 0] > 0 == centre[0, 1] == centre[4, 1]


def test_sound_that_turns_out_damaged_leaves_nothing(tmp_path):
    samples = np.zeros((48000 * 3, 1), np.float32)
    samples[-1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        write(tmp_path, samples, 48000)
    soundfile.write(tmp_path / "in.wav", samples[:0], 48000)
    with pytest.raises(InputError, match="no sound"):
        write_from(tmp_path, tmp_path / "in.wav", 1)
    assert os.listdir(tmp_path) == ["in.wav"]
