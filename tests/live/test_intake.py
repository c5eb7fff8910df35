"""Uneven pieces of speech, and the pace at which frames leave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.intake import BLOCK, Intake
from live.pacer import BUFFER, Pacer


class Bench:
    """An intake with a clock that is set by hand, and what it has let go."""

    def __init__(self):
        self.now, self.sent = 0.0, []
        self.intake = Intake(self.sent.append, clock=lambda: self.now)

    def feed(self, count: int, level: float = 0.5, **more) -> None:
        self.intake.feed(np.full(count, level, np.float32), **more)

    @property
    def lengths(self) -> list[int]:
        return [len(piece) for piece in self.sent]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=40))
def test_only_whole_blocks_leave_and_nothing_is_lost(sizes):
    bench = Bench()
    speech = np.arange(sum(sizes), dtype=np.float32)
    for piece in np.split(speech, np.cumsum(sizes)[:-1]):
        bench.intake.feed(piece)
    assert all(length % BLOCK == 0 for length in bench.lengths)
    bench.intake.flush()
    assert np.array_equal(np.concatenate(bench.sent), speech)


def test_the_first_block_is_not_held_back():
    bench = Bench()
    bench.feed(BLOCK // 2)
    assert bench.sent == [] and bench.intake.holding
    bench.feed(BLOCK // 2)
    assert bench.lengths == [BLOCK] and not bench.intake.holding


def test_after_a_hole_more_is_collected_and_a_new_turn_forgets_it():
    bench = Bench()
    bench.feed(BLOCK)
    bench.now = 0.2
    bench.feed(BLOCK)
    assert bench.lengths == [BLOCK]
    bench.feed(BLOCK)
    assert bench.lengths == [BLOCK, 2 * BLOCK]
    bench.intake.flush()
    bench.now = 2.0
    bench.feed(BLOCK)
    assert bench.lengths[-1] == BLOCK


def test_even_pieces_are_never_taken_for_a_hole():
    bench = Bench()
    for k in range(200):
        bench.now = 0.02 * k + 0.015 * (k % 3)
        bench.feed(BLOCK // 2)
    assert sum(bench.lengths) == 100 * BLOCK and max(bench.lengths) <= BLOCK


def test_pauses_of_a_microphone_make_up_for_a_delay_and_speech_is_kept():
    bench = Bench()
    bench.feed(BLOCK * 10, live=True)
    bench.feed(BLOCK, level=0.0, live=True)
    assert sum(bench.lengths) == 10 * BLOCK
    bench.feed(BLOCK, live=True)
    bench.feed(BLOCK, level=0.0)
    assert sum(bench.lengths) == 12 * BLOCK


def test_reset_forgets_the_turn():
    bench = Bench()
    bench.feed(BLOCK // 2)
    bench.intake.reset()
    bench.intake.flush()
    assert bench.sent == []


def test_bursts_leave_evenly():
    now = [0.0]
    pacer = Pacer(clock=lambda: now[0])
    leave = []
    for index in range(100):
        now[0] = 0.08 * (index // 2)  # two frames at a time
        leave.append(now[0] + pacer.wait(index / 25))
    assert np.allclose(np.diff(leave), 0.04)
    assert leave[0] == pytest.approx(BUFFER)


def test_a_stall_puts_the_clock_back_and_is_made_up_for():
    now = [0.0]
    pacer = Pacer(clock=lambda: now[0])
    holds = []
    for index in range(400):
        now[0] = index / 25 + (1.0 if 50 <= index < 100 else 0.0)
        holds.append(pacer.wait(index / 25))
    assert min(holds) >= 0 and holds[49] == pytest.approx(BUFFER)
    assert max(holds[100:150]) > 1.0
    assert holds[-1] == pytest.approx(BUFFER)
