"""Smaller batches and one clear sentence when memory runs out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from core.backends.out_of_memory import BatchLimit, chunks, out_of_memory
from core.errors import InputError


@given(count=st.integers(0, 200), limit=st.integers(1, 64))
def test_chunks_cover_everything_with_few_sizes(count, limit):
    sizes = chunks(count, limit)
    assert sum(sizes) == count and sizes == sorted(sizes, reverse=True)
    assert all(size == limit or size & (size - 1) == 0 and size < limit for size in sizes)


def test_results_come_in_order():
    limit = BatchLimit(4, "work")
    assert limit.run(lambda part: [x * 2 for x in part], range(7)) == [[0, 2, 4, 6], [8, 10], [12]]
    assert limit.run(list, []) == []


def test_limit_shrinks_once_and_stays(caplog):
    calls = []

    def work(part):
        calls.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(part)

    limit = BatchLimit(12, "rendering")
    assert [x for part in limit.run(work, range(12)) for x in part] == list(range(12))
    assert calls == [12, 6, 3, 3, 3, 3] and limit.size == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "no GPU memory for rendering of 12 frames at once; going on with 6" in caplog.messages[0]
    assert len(limit.run(work, range(4))) == 2 and len(caplog.records) == 2


def test_a_single_frame_too_many_is_an_error_in_one_line():
    def full(part):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    limit = BatchLimit(4, "decoding")
    with pytest.raises(InputError, match="not enough GPU memory for decoding of one frame.*--device cpu") as error:
        limit.run(full, range(4))
    assert "\n" not in str(error.value)


def test_other_errors_are_left_alone():
    with pytest.raises(ZeroDivisionError):
        BatchLimit(4, "work").run(lambda part: 1 / 0, range(4))
    with pytest.raises(InputError, match="mine"), out_of_memory("work"):
        raise InputError("mine")
    with pytest.raises(InputError, match="mine"):
        BatchLimit(4, "work").run(lambda part: (_ for _ in ()).throw(InputError("mine")), range(4))
