"""A worker that is started within the block does not hear Ctrl-C, its parent does afterwards."""

from __future__ import annotations

import multiprocessing
import signal
import threading

import pytest

from core.utils.interrupts import children_ignore_interrupts


def blocked(pipe) -> None:
    pipe.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX signals")
def test_children_ignore_interrupts_and_the_parent_is_told_later():
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=blocked, args=(there,))
    started = False
    with pytest.raises(KeyboardInterrupt):
        with children_ignore_interrupts():
            process.start()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # threads of other tests may be left
            started = True
    process.join()
    assert started and here.recv() and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
