"""The meter of live runs, with a clock of its own."""

from __future__ import annotations

import pytest

from core.runs import playback
from core.runs.playback import BUFFER, PlaybackMeter, keep_pace


@pytest.fixture
def clock(monkeypatch):
    """A list with the time in it."""
    now = [100.0]
    monkeypatch.setattr(playback.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(playback.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_delay_is_split_into_audio_and_compute(clock):
    meter = PlaybackMeter(paced=False)
    for i in range(1, 31):
        meter.sending(640 * i)
        clock[0] += 0.01
    assert meter.report() is None
    meter.finished(0, heard=640 * 15)  # sent 160 ms ago
    report = meter.report()
    assert report.audio_needed == pytest.approx(0.6) and report.compute == pytest.approx(0.16)
    assert report.late is None and report.worst is None


def test_late_frames_are_counted_and_hold_nothing_up(clock):
    meter = PlaybackMeter(paced=True)
    meter.sending(640)
    meter.finished(0, 640)
    start = clock[0]
    for index, after in enumerate([0.04, 0.04 + BUFFER + 0.05, 0.1, 0.04 * 4 + BUFFER + 0.2], 1):
        clock[0] = start + after
        meter.finished(index, 640)
    report = meter.report()
    assert report.late == 2 and report.worst == pytest.approx(0.2)


def test_pace(clock):
    keep_pace(100.0, 2.5)
    assert clock[0] == pytest.approx(102.5)
    keep_pace(100.0, 1.0)
    assert clock[0] == pytest.approx(102.5)
