"""The pace lets frames through one tick after the other, however they were made."""

from __future__ import annotations

import threading
import time

from core.avatars.avatar import Frame
from core.streaming.pace import Pace


def test_a_block_of_frames_leaves_one_by_one():
    pace, passed = Pace(), []

    def stage():
        for i in range(5):  # made together when 9 blocks had been heard
            pace.wait(Frame(i, 0, heard=9 * 640))
            passed.append(i)

    thread = threading.Thread(target=stage)
    thread.start()
    counts = []
    for tick in range(13):
        pace.tick()
        time.sleep(0.01)  # for a frame that leaves too early
        end = time.monotonic() + 20
        while len(passed) < tick - 7 and time.monotonic() < end:  # a busy machine takes its time
            time.sleep(0.005)
        counts.append(len(passed))
    thread.join(20)
    assert counts == [0] * 8 + [1, 2, 3, 4, 5]
    assert pace.delay == 9


def test_giving_up_frees_everything():
    pace = Pace()
    thread = threading.Thread(target=pace.wait, args=(Frame(1000, 0, heard=640 * 1010),))
    thread.start()
    pace.give_up()
    thread.join(20)
    assert not thread.is_alive()
