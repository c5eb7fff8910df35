import numpy as np
import pytest

from core.atomic_components.wav2feat import Wav2Feat
from core.errors import InputError
from core.motion import num_frames

COLUMNS = [0, 511, 1023]


class FakeHubert:
    """Row r, column j = mean of samples 320 r .. 320 r + 319 times 1 + j / 1024; remembers the windows."""

    def __init__(self):
        self.windows = []

    def __call__(self, samples):
        self.windows.append(samples[0])
        n = (samples.shape[1] - 80) // 320
        means = samples[0, : 320 * n].astype(np.float64).reshape(n, 320).mean(axis=1)
        return (means[:, None] * (1 + np.arange(1024) / 1024)).astype(np.float32)


def ramp(n):
    return ((np.arange(n) + 1) / 2**18).astype(np.float32)


def span(window):
    """Length, first and last non-zero position, first and last source sample."""
    position = np.flatnonzero(window)
    source = np.rint(window[position[[0, -1]]] * 2**18).astype(int) - 1 if len(position) else (0, 0)
    return [len(window), int(position[0]), int(position[-1]), int(source[0]), int(source[-1])]


@pytest.mark.parametrize("n", [1, 640, 641, 3200, 4480, 10000, 16000, 151680])
def test_whole_clip_matches_the_reference(golden, n):
    hubert = FakeHubert()
    rows = Wav2Feat(hubert).extract(ramp(n))
    expected = golden("pipeline_wav2feat.npz")[f"off_{n}"]
    assert rows.shape == (num_frames(n), 1024)
    np.testing.assert_allclose(rows[:, COLUMNS], expected[: num_frames(n)], atol=2e-5)
    for window, facts in zip(hubert.windows, golden("pipeline_wav2feat.json")[f"off_{n}"]["chunks"], strict=False):
        if facts != "...":
            assert span(window) == facts


@pytest.mark.parametrize("chunk_size", [(2, 5, 1), (5, 5, 3), (3, 10, 2)])
def test_other_chunk_sizes(golden, chunk_size):
    rows = Wav2Feat(FakeHubert(), chunk_size).extract(ramp(20000))
    expected = golden("pipeline_wav2feat.npz")["off_20000_cs{}_{}_{}".format(*chunk_size)]
    np.testing.assert_allclose(rows[:, [0, 1023]], expected, atol=2e-5)


@pytest.mark.parametrize("n", [1, 1280, 1281, 4480, 16000, 151680])
def test_streaming_matches_the_reference(golden, n):
    hubert = FakeHubert()
    rows = np.concatenate(list(Wav2Feat(hubert).stream(ramp(n))))
    assert len(rows) == num_frames(n)
    expected = golden("pipeline_wav2feat.npz")[f"str_{n}"][: num_frames(n)]
    np.testing.assert_allclose(rows[:, COLUMNS], expected, atol=2e-5)
    facts = golden("pipeline_wav2feat.json")[f"str_{n}"]["chunks"][0]
    assert span(hubert.windows[0]) == facts


def test_no_future_frames():
    rows = Wav2Feat(FakeHubert(), (3, 5, 0)).extract(ramp(16000))
    assert rows.shape == (25, 1024) and (np.diff(rows[:, 0]) > 0).all()


def test_empty_audio_is_refused():
    with pytest.raises(InputError, match="empty"):
        Wav2Feat(FakeHubert()).extract(ramp(0))


@pytest.mark.parametrize("chunk_size", [(3, 0, 2), (-1, 5, 2), (3, 5, -1)])
def test_bad_chunk_sizes_are_refused(chunk_size):
    with pytest.raises(InputError, match="chunk size"):
        Wav2Feat(FakeHubert(), chunk_size)
