"""Chunks of audio as callers deliver them: the reference's overlapping windows, or consecutive pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.utils.audio_chunks import MAX_FRAMES, ChunkFeed, checked_first, checked_samples, checked_size


def windows(audio: np.ndarray, size: tuple[int, int, int]) -> list[np.ndarray]:
    """The windows of the reference's streaming driver (spec 9.3)."""
    past, cur, future = size
    length = 640 * sum(size) + 80
    padded = np.concatenate([np.zeros(640 * past, np.float32), audio])
    starts = range(0, len(padded), 640 * cur)
    return [np.pad(part := padded[start : start + length], (0, length - len(part))) for start in starts]


@given(
    samples=st.integers(1, 40_000),
    size=st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(0, 4)),
)
def test_windows_of_the_reference_give_each_sample_once(samples, size):
    audio = np.arange(1, samples + 1, dtype=np.float32)
    feed, given_windows = ChunkFeed(size), windows(audio, size)
    found = np.concatenate([feed.new_samples(window) for window in given_windows])
    np.testing.assert_array_equal(found[:samples], audio)
    assert not found[samples:].any()
    assert feed.limit == size[1] * len(given_windows)


@given(st.lists(st.integers(0, 7000).filter(lambda n: n != 6480), min_size=1, max_size=8))
def test_chunks_of_other_lengths_follow_each_other(lengths):
    audio = np.arange(sum(lengths), dtype=np.float32)
    feed = ChunkFeed()
    pieces = np.split(audio, np.cumsum(lengths)[:-1])
    np.testing.assert_array_equal(np.concatenate([feed.new_samples(piece) for piece in pieces]), audio)
    assert feed.limit is None


def test_a_last_window_that_is_cut_off_gives_what_lies_beyond_the_overlap():
    audio = np.arange(1, 20_001, dtype=np.float32)
    feed = ChunkFeed()
    first, second = windows(audio, (3, 5, 2))[:2]
    feed.new_samples(first)
    np.testing.assert_array_equal(feed.new_samples(second[:4000]), second[3280:4000])
    assert len(feed.new_samples(second[:100])) == 0


@pytest.mark.parametrize(
    "size", [(3, 0, 2), (-1, 5, 2), (3, 5, -1), (3, 5), (3, 5, 2, 1), (3.0, 5, 2), (0, MAX_FRAMES + 1, 0)]
)
def test_bad_sizes_are_refused(size):
    with pytest.raises(InputError, match="chunk size"):
        checked_size(size)
    with pytest.raises(InputError, match="chunk size"):
        ChunkFeed(size)


def test_numpy_sizes_become_ints():
    assert checked_size(np.array([3, 5, 2])) == (3, 5, 2)
    assert checked_first(np.int64(2), 5) == 2 and checked_first(None, 5) == 5


@pytest.mark.parametrize("first", [0, -1, 6, 2.0])
def test_bad_first_steps_are_refused_with_the_range(first):
    with pytest.raises(InputError, match=r"1 \.\. 5"):
        checked_first(first, 5)


@pytest.mark.parametrize("audio", [np.zeros((2, 9)), np.array([0, np.nan]), np.array([np.inf])])
def test_bad_samples_are_refused(audio):
    with pytest.raises(InputError):
        checked_samples(audio)
    with pytest.raises(InputError):
        ChunkFeed().new_samples(audio)
