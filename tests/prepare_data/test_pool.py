"""Workers end, whatever they are at."""

from __future__ import annotations

import multiprocessing
import signal
import time

import pytest

from prepare_data import pool


def stubborn(ready) -> None:
    """What native code that never returns looks like from outside."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(600)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_worker_that_does_not_listen_is_killed(monkeypatch):
    monkeypatch.setattr(pool, "PATIENCE", 0.2)
    context = multiprocessing.get_context("fork")
    ready, (here, _) = context.Event(), context.Pipe()
    process = context.Process(target=stubborn, args=(ready,), daemon=True)
    process.start()
    assert ready.wait(60)
    pool._Worker(process, here).kill()
    assert process.exitcode == -signal.SIGKILL
