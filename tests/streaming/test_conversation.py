"""Conversations: the clock, what is heard with which frame, interruption, faults. The session is a stand-in."""

from __future__ import annotations

import queue
import threading
import time

import numpy as np
import pytest

from core.errors import InputError, StageError
from core.motion import SAMPLES_PER_FRAME as BLOCK
from core.pipeline import Cancelled
from core.streaming.conversation import Conversation
from core.streaming.pace import Pace
from core.streaming.session import VideoFrame

DELAY = 3  # frames that the stand-in looks ahead


class Session:
    """Gives back frame n once block n + DELAY has come; the picture holds the block's first sample."""

    def __init__(self):
        self.rests: list[int] = []
        self.blocks: list[np.ndarray] = []
        self._out: queue.Queue = queue.Queue()
        self.closed = threading.Event()
        self.fail_at: int | None = None

    def push(self, samples, timeout=None):
        if self.closed.is_set():
            raise Cancelled
        if self.fail_at == len(self.blocks):
            raise StageError("warp_f3d", RuntimeError("broken"))
        self.blocks.append(samples)
        n = len(self.blocks) - 1 - DELAY
        if n >= 0:
            image = np.full((2, 2, 3), int(100 * self.blocks[n][0]), np.uint8)
            self._out.put(VideoFrame(image, n / 25, n, len(self.blocks) * BLOCK))

    def get(self, timeout=None):
        while True:
            try:
                return self._out.get(timeout=0.02)
            except queue.Empty:
                if self.closed.is_set():
                    raise StopIteration from None

    def keep_pace(self):
        return Pace()

    def rest_until(self, index):
        self.rests.append(index)

    def close(self):
        self.closed.set()


@pytest.fixture
def session():
    return Session()


def test_frames_come_at_the_pace_of_the_clock(session):
    start = time.monotonic()
    with Conversation(session) as talk:
        moments = [next(talk) for _ in range(20)]
    assert 0.75 < time.monotonic() - start < 1.6
    assert [m.index for m in moments] == list(range(20))
    assert [round(m.seconds, 2) for m in moments[:3]] == [0, 0.04, 0.08]
    assert not any(m.speaking or m.sound.any() for m in moments)


def test_sound_goes_with_its_frame_whatever_the_pieces(session):
    speech = np.repeat(np.arange(1, 6) / 10, BLOCK).astype(np.float32)
    with Conversation(session) as talk:
        for piece in np.array_split(speech, 7):
            talk.say(piece)
        moments = [next(talk) for _ in range(12)]
    spoken = [m for m in moments if m.speaking]
    assert len(spoken) in (5, 6)  # the first block may have left before all of it had come
    assert np.concatenate([m.sound for m in spoken]).sum() == pytest.approx(speech.sum(), rel=1e-5)
    for moment in spoken:
        assert moment.image[0, 0, 0] == int(100 * moment.sound[0])


def test_interrupt_silences_what_was_not_heard(session):
    with Conversation(session) as talk:
        talk.say(np.full(BLOCK * 100, 0.5, np.float32))
        while not next(talk).speaking:
            pass
        talk.interrupt()
        sent = len(session.blocks)
        after = [next(talk) for _ in range(10)]
        assert talk.waiting == 0
    assert not any(m.speaking or m.sound.any() for m in after)
    assert len(session.rests) == 1 and abs(session.rests[0] - sent) <= 1


def test_int16_is_taken_and_floods_are_refused(session):
    with Conversation(session, max_waiting=1.0) as talk:
        talk.say(np.full(BLOCK, 16384, np.int16))
        with pytest.raises(InputError, match="1 s of speech are waiting"):
            talk.say(np.zeros(20000, np.float32))
        spoken = next(m for m in talk if m.speaking)
        assert spoken.sound.max() == pytest.approx(0.5)


def test_a_failing_stage_comes_out_of_the_iteration(session):
    session.fail_at = 8
    talk = Conversation(session)
    with pytest.raises(StageError, match="warp_f3d"):
        for _ in talk:
            pass
    assert session.closed.is_set()
    assert list(talk) == []


def test_close_ends_iteration_and_threads(session):
    talk = Conversation(session)
    closing = threading.Timer(0.2, talk.close)
    closing.start()
    assert len(list(talk)) < 100
    closing.join()
    assert not any(thread.name == "conversation" for thread in threading.enumerate())


def test_a_slow_machine_is_counted(session):
    slow = session.push

    def push(samples, timeout=None):
        time.sleep(0.1)
        slow(samples)

    session.push = push
    with Conversation(session) as talk:
        for _ in range(8):
            next(talk)
    assert talk.stats.underruns >= 1
