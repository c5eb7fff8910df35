"""PCM in pieces becomes 16 kHz mono, whatever the cuts, and anything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from live.pcm import PcmFeed, to_pcm


@pytest.mark.parametrize("rate, channels", [(16000, 1), (48000, 2), (8000, 1), (44100, 1)])
def test_a_tone_keeps_its_length_and_pitch(rate, channels):
    t = np.arange(rate) / rate
    pcm = to_pcm(0.5 * np.sin(2 * np.pi * 440 * t))
    tone = np.frombuffer(pcm, "<i2").repeat(channels).tobytes()
    feed, step = PcmFeed(), 2 * channels * 777
    pieces = [feed.feed(tone[i : i + step], rate, channels) for i in range(0, len(tone), step)]
    samples = np.concatenate([*pieces, feed.flush()])
    assert abs(len(samples) - 16000) <= 2 and samples.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(samples[:16000]))
    assert int(np.argmax(spectrum)) == 440 and np.abs(samples).max() == pytest.approx(0.5, abs=0.02)


@given(st.binary(max_size=64), st.integers(-5, 10**6), st.integers(-2, 12))
def test_anything_is_taken_or_refused_in_one_line(pcm, rate, channels):
    try:
        samples = PcmFeed().feed(pcm, rate, channels)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert samples.ndim == 1 and np.abs(samples).max(initial=0) <= 1.5


def test_loud_samples_are_clipped():
    assert np.frombuffer(to_pcm(np.array([2.0, -2.0, 0.0], np.float32)), "<i2").tolist() == [32767, -32767, 0]
