"""HuBERT features of whole clips and of live sources, against windows recorded from the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.atomic_components.wav2feat import Wav2Feat
from core.errors import InputError
from core.motion import num_frames
from core.utils.audio_chunks import ChunkFeed

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


def streamed(stream, audio, cuts=()):
    """Rows of a stream fed with the pieces between the cuts."""
    rows = [stream.push(piece) for piece in np.split(audio, sorted(cuts))]
    return np.concatenate([*rows, stream.finish()])


@pytest.mark.parametrize("n", [1, 1280, 1281, 4480, 16000, 151680])
def test_streaming_matches_the_reference(golden, n):
    hubert = FakeHubert()
    rows = streamed(Wav2Feat(hubert).stream(), ramp(n))
    assert len(rows) == num_frames(n)
    expected = golden("pipeline_wav2feat.npz")[f"str_{n}"][: num_frames(n)]
    np.testing.assert_allclose(rows[:, COLUMNS], expected, atol=2e-5)
    facts = golden("pipeline_wav2feat.json")[f"str_{n}"]["chunks"]
    assert [span(window) for window in hubert.windows[: len(facts)]] == facts[: len(hubert.windows)]


def test_streaming_with_another_chunk_size(golden):
    hubert = FakeHubert()
    rows = streamed(Wav2Feat(hubert).stream((2, 5, 1)), ramp(20000))
    expected = golden("pipeline_wav2feat.npz")["str_20000_cs2_5_1"][: len(rows)]
    np.testing.assert_allclose(rows[:, [0, 1023]], expected, atol=2e-5)
    facts = golden("pipeline_wav2feat.json")["str_20000_cs2_5_1"]["chunks"]
    assert [span(window) for window in hubert.windows] == facts[: len(hubert.windows)]


@given(
    n=st.integers(0, 30_000),
    cuts=st.lists(st.integers(0, 30_000), max_size=12),
    size=st.tuples(st.integers(0, 5), st.integers(1, 7), st.integers(0, 4)),
    data=st.data(),
)
def test_a_stream_does_not_depend_on_how_it_is_cut(n, cuts, size, data):
    first = data.draw(st.integers(1, size[1]))
    encoder = Wav2Feat(FakeHubert())
    whole = streamed(encoder.stream(size, first), ramp(n))
    assert whole.shape == (num_frames(n), 1024)
    np.testing.assert_array_equal(streamed(encoder.stream(size, first), ramp(n), np.minimum(cuts, n)), whole)


@pytest.mark.parametrize("size, first", [((3, 5, 2), None), ((3, 5, 2), 1), ((4, 6, 0), 2), ((0, 1, 3), 1)])
def test_blocks_come_out_as_soon_as_their_look_ahead_is_there(size, first):
    stream = Wav2Feat(FakeHubert()).stream(size, first)
    assert (stream.step, stream.first_step, stream.look_ahead) == (size[1], first or size[1], 640 * size[2] + 80)
    need = 640 * stream.first_step + stream.look_ahead
    audio = ramp(30_000)
    assert len(stream.push(audio[: need - 1])) == 0
    assert len(stream.push(audio[need - 1 : need])) == stream.first_step
    assert len(stream.push(audio[need : need + 640 * size[1] - 1])) == 0
    assert len(stream.push(audio[need + 640 * size[1] - 1 : need + 640 * size[1]])) == size[1]


def test_a_smaller_first_block_sees_the_same_past_and_future():
    """The fake network is local, so rows must not depend on the blocks at all."""
    encoder = Wav2Feat(FakeHubert())
    np.testing.assert_allclose(
        streamed(encoder.stream(first_step=2), ramp(16000)), streamed(encoder.stream(), ramp(16000)), atol=1e-6
    )


def test_windows_of_the_reference_script_give_the_same_rows(golden):
    """run_chunk with the overlapping windows of spec 9.3, through ChunkFeed."""
    audio, feed, stream = ramp(16000), ChunkFeed(), Wav2Feat(FakeHubert()).stream()
    padded = np.concatenate([np.zeros(1920, np.float32), audio, np.zeros(6480, np.float32)])
    rows = [stream.push(feed.new_samples(padded[start : start + 6480])) for start in range(0, 17920, 3200)]
    rows = np.concatenate([*rows, stream.finish()])[: feed.limit]
    assert len(rows) == golden("pipeline_wav2feat.json")["str_16000"]["features"]
    np.testing.assert_allclose(rows[:, COLUMNS], golden("pipeline_wav2feat.npz")["str_16000"], atol=2e-5)


@pytest.mark.parametrize("frames", [0, 1, 7, 14, 28, 55, 56, 70, 75])
def test_silence_has_exactly_as_many_frames(frames):
    rows = Wav2Feat(FakeHubert()).silence(frames)
    assert rows.shape == (frames, 1024) and not rows.any()


def test_windows_start_at_whole_frames_however_late():
    """The reference's arithmetic is off by a sample now and then beyond frame 1615."""
    hubert, last = FakeHubert(), 4000
    audio = np.zeros((last + 3) * 640, np.float32)
    audio[::640] = 1
    Wav2Feat(hubert).extract(audio)
    for window in hubert.windows[1 : last // 5 - 1]:
        assert np.flatnonzero(window).tolist() == list(range(80, 6480, 640))


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
