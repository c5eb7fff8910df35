"""Pipeline: order, back-pressure, errors, cancel, and that nothing ever hangs."""

import threading
import time

import pytest

from core.errors import OutputError, StageError
from core.pipeline import Cancelled, Pipeline, Stage

LIMIT = 2.0  # seconds within which a failed run must be over


def collect():
    """A last stage and the list that it fills."""
    items = []
    return items, Stage("collect", items.append)


def boom(item):
    raise ValueError(f"bad {item}")


def test_items_keep_their_order_through_all_stages():
    items, last = collect()
    with Pipeline([Stage("double", lambda x: 2 * x), Stage("add", lambda x: x + 1), last], queue_size=2) as pipeline:
        for i in range(200):
            pipeline.put(i)
    assert items == [2 * i + 1 for i in range(200)]


def test_iterators_fan_out_and_none_is_dropped():
    items, last = collect()

    def odd_ones(item):
        return item if item % 2 else None

    with Pipeline([Stage("many", lambda n: iter(range(n))), Stage("odd", odd_ones), last]) as pipeline:
        pipeline.put(4)
        pipeline.put(6)
    assert items == [1, 3, 1, 3, 5]


def test_a_list_is_one_item():
    items, last = collect()
    with Pipeline([Stage("same", lambda x: x), last]) as pipeline:
        pipeline.put([1, 2])
    assert items == [[1, 2]]


def test_finish_flushes_before_the_end_reaches_the_next_stage():
    events = []
    hold = []
    first = Stage("hold", hold.append, finish=lambda: iter(hold))
    last = Stage("write", events.append, finish=lambda: events.append("closed"))
    with Pipeline([first, last]) as pipeline:
        for i in range(20):
            pipeline.put(i)
    assert events == list(range(20)) + ["closed"]


def test_queue_bounds_what_is_under_way():
    gate = threading.Event()
    taken = []

    def slow(item):
        gate.wait(10)
        taken.append(item)

    with Pipeline([Stage("pass", lambda x: x), Stage("slow", slow)], queue_size=3) as pipeline:
        accepted = 0
        with pytest.raises(TimeoutError):
            for i in range(50):
                pipeline.put(i, timeout=0.3)
                accepted += 1
        # 3 + 3 in the queues, one in the hands of each stage
        assert accepted == 8
        gate.set()
    assert taken == list(range(8))


def test_fan_out_is_bounded_too():
    made = []
    gate = threading.Event()

    def produce(_):
        for i in range(1000):
            made.append(i)
            yield i

    with Pipeline([Stage("produce", produce), Stage("slow", lambda _: gate.wait(10))], queue_size=4) as pipeline:
        pipeline.put(None)
        time.sleep(0.3)
        assert len(made) <= 4 + 2
        gate.set()
    assert len(made) == 1000


@pytest.mark.parametrize("place", [0, 1, 2])
def test_error_in_any_stage_while_queues_are_full(place):
    def fails_late(item):
        if item == 30:
            time.sleep(0.3)  # lets every queue before this stage fill up
            raise ValueError("bad 30")
        return item

    stages = [Stage(f"s{i}", fails_late if i == place else lambda x: x) for i in range(3)]
    pipeline = Pipeline(stages, queue_size=1).start()
    start = time.monotonic()
    with pytest.raises(StageError) as caught:
        for i in range(10_000):
            pipeline.put(i)
    with pytest.raises(StageError):
        pipeline.close()
    assert time.monotonic() - start < LIMIT
    assert caught.value.stage == f"s{place}"
    assert isinstance(caught.value.__cause__, ValueError)
    assert "bad 30" in str(caught.value) and f"s{place}" in str(caught.value)
    assert not any(thread.is_alive() for thread in pipeline._threads)


def test_error_after_the_last_put_comes_out_of_close():
    pipeline = Pipeline([Stage("boom", boom)]).start()
    pipeline.put(1)
    with pytest.raises(StageError, match="bad 1"):
        pipeline.close()


def test_error_in_finish_and_in_an_iterator():
    def half(_):
        yield 1
        raise KeyError("half way")

    items, last = collect()
    pipeline = Pipeline([Stage("half", half), last]).start()
    pipeline.put(0)
    with pytest.raises(StageError, match="half way"):
        pipeline.close()
    pipeline = Pipeline([Stage("pass", lambda x: x), Stage("end", lambda x: None, finish=lambda: boom("end"))]).start()
    with pytest.raises(StageError, match="bad end"):
        pipeline.close()


def test_user_facing_errors_come_out_as_they_are():
    def full(_):
        raise OutputError("disk full")

    pipeline = Pipeline([Stage("writer", full)]).start()
    pipeline.put(1)
    with pytest.raises(OutputError, match="^disk full$") as caught:
        pipeline.close()
    assert caught.value.stage == "writer"


def test_first_error_wins():
    reached = threading.Event()

    def second(item):
        reached.wait(5)
        raise ValueError("later")

    def first(item):
        if item == 1:
            reached.set()
            raise ValueError("earlier")
        return item

    pipeline = Pipeline([Stage("first", first), Stage("second", second)]).start()
    pipeline.put(0)
    time.sleep(0.05)
    with pytest.raises(StageError) as caught:
        pipeline.put(1)
        pipeline.close()
    assert caught.value.stage in ("first", "second")
    assert pipeline.error is caught.value


def test_sys_exit_in_a_stage_is_an_error_too():
    def leave(_):
        raise SystemExit

    pipeline = Pipeline([Stage("leave", leave)]).start()
    pipeline.put(1)
    with pytest.raises(StageError, match="SystemExit"):
        pipeline.close()


def test_put_after_failure_raises_every_time():
    pipeline = Pipeline([Stage("boom", boom)]).start()
    with pytest.raises(StageError):
        for i in range(100):
            pipeline.put(i)
    for _ in range(3):
        with pytest.raises(StageError):
            pipeline.put(0)


def test_cancel_is_idempotent_and_aborts_instead_of_finishing():
    events = []
    stage = Stage("s", lambda x: time.sleep(0.01), lambda: events.append("finish"), lambda: events.append("abort"))
    pipeline = Pipeline([stage]).start()
    for i in range(20):
        pipeline.put(i)
    pipeline.cancel()
    pipeline.cancel()
    pipeline.close()
    assert events == ["abort"] and pipeline.cancelled
    assert not any(thread.is_alive() for thread in pipeline._threads)


def test_put_after_cancel_and_after_close():
    pipeline = Pipeline([Stage("s", lambda x: None)]).start()
    pipeline.close()
    pipeline.close()
    with pytest.raises(RuntimeError):
        pipeline.put(1)
    stuck = threading.Event()
    pipeline = Pipeline([Stage("s", lambda x: stuck.wait(1))], queue_size=1).start()
    threading.Timer(0.2, pipeline.cancel).start()
    with pytest.raises(Cancelled):
        for i in range(100):
            pipeline.put(i)
    stuck.set()


def test_failure_aborts_every_stage_that_has_not_finished():
    aborted = []
    stages = [
        Stage("a", lambda x: x, abort=lambda: aborted.append("a")),
        Stage("b", boom, abort=lambda: aborted.append("b")),
        Stage("c", lambda x: None, abort=lambda: 1 / 0),  # a failing clean-up does not hide the first error
    ]
    pipeline = Pipeline(stages).start()
    pipeline.put(1)
    with pytest.raises(StageError, match="bad 1"):
        while True:
            pipeline.put(2)
    with pytest.raises(StageError, match="bad 1"):
        pipeline.close()
    assert sorted(aborted) == ["a", "b"]


def test_close_returns_although_a_stage_is_stuck():
    stuck = threading.Event()
    pipeline = Pipeline([Stage("boom", lambda x: x if x == 0 else boom(x)), Stage("stuck", lambda x: stuck.wait(20))])
    pipeline.start()
    pipeline.put(0)
    time.sleep(0.05)
    start = time.monotonic()
    with pytest.raises(StageError):
        pipeline.put(1)
        pipeline.close()
    assert time.monotonic() - start < LIMIT
    stuck.set()


def test_producer_that_is_interrupted_cancels():
    aborted = []
    pipeline = Pipeline([Stage("s", lambda x: None, abort=lambda: aborted.append(1))])
    with pytest.raises(KeyboardInterrupt):
        with pipeline:
            pipeline.put(1)
            raise KeyboardInterrupt
    assert pipeline.cancelled and aborted == [1]


def interrupt_first_join(pipeline, monkeypatch):
    """Somebody presses Ctrl-C while the pipeline waits for its threads; the next time nobody does."""
    real_join, calls = pipeline._join, []

    def interrupted_once():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        real_join()

    monkeypatch.setattr(pipeline, "_join", interrupted_once)


def test_interrupt_during_close_cancels(monkeypatch):
    pipeline = Pipeline([Stage("slow", lambda x: time.sleep(0.2))]).start()
    pipeline.put(1)
    interrupt_first_join(pipeline, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pipeline.close()
    assert pipeline.cancelled and not pipeline._threads[0].is_alive()


def test_interrupt_while_the_end_waits_for_room_cancels():
    """The end would never come into the queue: a later close() would wait for it for ever."""
    gate, aborted = threading.Event(), []
    pipeline = Pipeline([Stage("slow", lambda x: gate.wait(5), abort=lambda: aborted.append(1))], queue_size=1).start()
    pipeline.put(1)
    pipeline.put(2)  # fills the queue

    def interrupted(*_):
        gate.set()
        raise KeyboardInterrupt

    pipeline._channels[0].put = interrupted
    with pytest.raises(KeyboardInterrupt):
        pipeline.end()
    pipeline.close()
    assert pipeline.cancelled and aborted == [1] and not pipeline._threads[0].is_alive()


def test_a_second_interrupt_does_not_keep_the_leftovers(monkeypatch):
    aborted = []
    stage = Stage("slow", lambda x: time.sleep(0.3), abort=lambda: aborted.append(1))
    pipeline = Pipeline([stage]).start()
    pipeline.put(1)
    interrupt_first_join(pipeline, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pipeline.cancel()
    assert aborted == [1]


def test_a_producer_that_comes_too_late_does_not_wait_for_room():
    """put() in one thread while another has closed: nobody will ever take the item."""
    pipeline = Pipeline([Stage("s", lambda x: None)], queue_size=1).start()
    pipeline.close()
    pipeline._ended = False  # as it looked to the producer just before
    with pytest.raises(Cancelled):
        for i in range(3):
            pipeline.put(i, timeout=LIMIT)


def test_stages_that_could_not_be_started_remove_their_leftovers(monkeypatch):
    aborted, started = [], []
    stages = [Stage(name, lambda x: x, abort=lambda name=name: aborted.append(name)) for name in "abc"]
    pipeline = Pipeline(stages)
    real_start = threading.Thread.start

    def refuse_the_second(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real_start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_the_second)
    with pytest.raises(RuntimeError, match="new thread"):
        pipeline.start()
    assert sorted(aborted) == ["a", "b", "c"] and not started[0].is_alive()


def test_cancel_before_the_start_removes_leftovers():
    aborted = []
    pipeline = Pipeline([Stage("s", lambda x: x, abort=lambda: aborted.append(1))])
    pipeline.cancel()
    pipeline.cancel()
    assert aborted == [1]
    with pytest.raises(Cancelled):
        pipeline.start()


def test_a_stage_that_has_finished_is_not_aborted():
    """The file of a stage in the middle is complete when the one behind it fails."""
    events, finished = [], threading.Event()

    def finish():
        events.append("finished")
        finished.set()

    def fail(_):
        finished.wait(LIMIT)
        time.sleep(0.1)  # lets the end of the stream wait for room
        raise ValueError("behind")

    stages = [Stage("file", lambda x: x, finish, abort=lambda: events.append("aborted")), Stage("behind", fail)]
    pipeline = Pipeline(stages, queue_size=1).start()
    pipeline.put(1)
    pipeline.put(2)
    with pytest.raises(StageError, match="behind"):
        pipeline.close()
    assert events == ["finished"]


def test_who_has_leftovers_is_given_more_time(monkeypatch):
    monkeypatch.setattr("core.pipeline.STOP_GRACE", 0.1)
    aborted = []
    pipeline = Pipeline([Stage("writer", lambda x: time.sleep(0.8), abort=lambda: aborted.append(1))]).start()
    pipeline.put(1)
    time.sleep(0.05)
    pipeline.cancel()
    assert aborted == [1]


def test_get_before_start_does_not_wait():
    with pytest.raises(RuntimeError):
        Pipeline([Stage("s", lambda x: x)], keep_output=True).get()


def test_progress_counts_and_can_cancel():
    seen = []

    def progress(done):
        seen.append(done)
        return done < 5

    items, last = collect()
    pipeline = Pipeline([Stage("pass", lambda x: x), last], on_progress=progress).start()
    with pytest.raises(Cancelled):
        for i in range(1000):
            pipeline.put(i)
    pipeline.close()
    assert seen == [1, 2, 3, 4, 5] and pipeline.cancelled


def test_two_pipelines_do_not_mix():
    first_items, first_last = collect()
    second_items, second_last = collect()
    with Pipeline([Stage("s", lambda x: x), first_last]) as first, Pipeline([second_last]) as second:
        for i in range(100):
            first.put(i)
            second.put(-i)
    assert first_items == list(range(100)) and second_items == [-i for i in range(100)]
    good_items, good_last = collect()
    good = Pipeline([good_last]).start()
    bad = Pipeline([Stage("boom", boom)]).start()
    bad.put(1)
    with pytest.raises(StageError):
        bad.close()
    good.put(1)
    good.close()
    assert good_items == [1]


def test_timings_tell_work_from_waiting():
    def slow(item):
        yield item
        time.sleep(0.05)

    with Pipeline([Stage("fast", lambda x: x), Stage("slow", slow)], queue_size=1) as pipeline:
        for i in range(6):
            pipeline.put(i)
    fast, slow_timing = pipeline.timings["fast"], pipeline.timings["slow"]
    assert fast.count == slow_timing.count == 6
    assert slow_timing.busy >= 0.28 and fast.busy < 0.1 and fast.waiting > 0.1


def test_bad_construction():
    with pytest.raises(ValueError):
        Pipeline([])
    with pytest.raises(ValueError):
        Pipeline([Stage("a", boom), Stage("a", boom)])
    with pytest.raises(ValueError):
        Pipeline([Stage("a", boom)], queue_size=0)
    with pytest.raises(RuntimeError):
        Pipeline([Stage("a", boom)]).put(1)
