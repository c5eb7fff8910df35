"""Speech features against the reference's chunking, and sound in step with the picture."""

from __future__ import annotations

import av
import numpy as np
import pytest
import soundfile

from core.atomic_components.wav2feat import Wav2Feat
from core.errors import InputError
from core.media import read_audio
from prepare_data.sound import read_sound, sound_lag, speech_features, write_wav


def stub_encoder(samples):
    """The encoder of the golden file: 20 rows of means, column j times 1 + j / 1024."""
    rows = samples[0][:6400].reshape(20, 320).mean(axis=1, keepdims=True)
    return rows * (1 + np.arange(1024, dtype=np.float32) / 1024)


def test_speech_features_are_those_of_the_reference(golden, tmp_path):
    arrays, exact = golden("training_prepare.npz"), {4480: 7}
    for case in golden("training_prepare.json")["hubert_chunking"]["cases"]:
        count = case["samples"]
        soundfile.write(tmp_path / "x.wav", arrays[f"hubert/{count}/wav"], 16000, subtype="PCM_16")
        rows = speech_features(Wav2Feat(stub_encoder), tmp_path / "x.wav")
        frames = exact.get(count, case["out_shape"][0])  # the reference's rounding gives one too many there
        assert rows.shape == (frames, 1024) and rows.dtype == np.float32
        wanted = arrays[f"hubert/{count}/feat_col0_col1023"][:frames]
        np.testing.assert_allclose(rows[:, [0, 1023]], wanted, atol=1e-7)


def test_features_that_are_no_numbers_are_refused(tmp_path):
    write_wav(tmp_path / "x.wav", np.zeros(3200, np.float32))
    with pytest.raises(InputError, match="x.wav.*not finite"):
        speech_features(Wav2Feat(lambda samples: np.full((20, 4), np.nan, np.float32)), tmp_path / "x.wav")


@pytest.mark.parametrize("delay", [0.4, -0.4])
def test_sound_starts_with_the_picture(make_clip, tmp_path, delay):
    """The stream that starts late is shifted by the container's times; the sound must follow."""
    video = make_clip(tmp_path / "a.mp4", frames=25)
    late = tmp_path / "late.mkv"
    shift_streams(video, late, sound_delay=delay)
    moved, plain = read_sound(late), read_audio(video)
    by = round(delay * 16000)
    early, heard = (moved, plain[-by:]) if by < 0 else (moved[by:], plain)
    count = min(len(early), len(heard)) - 1024
    assert np.abs(early[:count] - heard[:count]).max() < 0.02 < np.abs(heard[:count]).max()


def test_sound_in_step_is_left_alone(make_clip, tmp_path):
    video = make_clip(tmp_path / "a.mp4")
    assert abs(sound_lag(video)) < 0.005
    np.testing.assert_array_equal(read_sound(video), read_audio(video))


def shift_streams(source, target, sound_delay):
    """Copy a video with its sound delayed (or its picture, if negative)."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        streams = {stream.index: made.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is None:
                continue
            delay = max(sound_delay, 0) if packet.stream.type == "audio" else max(-sound_delay, 0)
            ticks = round(delay / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = streams[packet.stream.index]
            made.mux(packet)


def test_the_wav_is_16_bit_mono(tmp_path):
    write_wav(tmp_path / "x.wav", np.linspace(-1, 1, 1600).astype(np.float32))
    info = soundfile.info(tmp_path / "x.wav")
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", 1600)
