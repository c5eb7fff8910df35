"""Recorded calls, with a recorder that replays by calling again: real CUDA graphs need a GPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from replayer import Replayer

from core.backends.cuda_graph import GraphedCall, recorder_for


def count_copies(monkeypatch) -> list:
    """Sizes of all tensors that are copied into others from now on."""
    copies, copy = [], torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda own, given: (copies.append(len(given)), copy(own, given))[1])
    return copies


def test_replay_gives_what_the_function_gives_for_each_shape():
    recorder = Replayer()
    call = GraphedCall(lambda a, b: a * b + 1, recorder)
    for size in (2, 3, 2, 2, 3):
        a, b = torch.rand(size), torch.rand(size)
        torch.testing.assert_close(call(a, b), a * b + 1)
    assert recorder.recorded == 2


def test_results_are_not_overwritten_by_later_calls():
    call = GraphedCall(lambda a: a * 2, Replayer())
    first = call(torch.ones(2))
    call(torch.zeros(2))
    assert first.eq(2).all()


def test_constants_are_bound_once(monkeypatch):
    call = GraphedCall(lambda constant, x: x + constant.sum(), Replayer())
    constant = torch.rand(5)
    call(constant, torch.rand(2))
    copies = count_copies(monkeypatch)
    for _ in range(3):
        x = torch.rand(2)
        torch.testing.assert_close(call(constant, x), x + constant.sum())
    assert copies.count(5) == 0
    other = constant + 1
    torch.testing.assert_close(call(other, x), x + other.sum())
    assert copies.count(5) == 1


def test_without_a_recorder_the_function_is_called():
    seen = []
    call = GraphedCall(lambda a: (seen.append(a), a)[1], None)
    x = torch.rand(2)
    assert call(x) is x and seen[0] is x
    assert recorder_for(torch.device("cpu"), wanted=True) is None


def test_what_cannot_be_recorded_runs_as_it_is(caplog):
    class Refusing:
        calls = 0

        def record(self, function, inputs):
            self.calls += 1
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    recorder = Refusing()
    call = GraphedCall(lambda a: a + 1, recorder)
    for _ in range(2):
        assert call(torch.zeros(1)).item() == 1
    assert recorder.calls == 1 and "CUDA graphs are not used: CUDA error: operation not permitted" in caplog.text


def test_lack_of_memory_is_passed_on():
    class Full:
        def record(self, function, inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")

    call = GraphedCall(lambda a: a, Full())
    with pytest.raises(torch.OutOfMemoryError):
        call(torch.zeros(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_real_graphs():
    device = torch.device("cuda")
    weight = torch.rand(64, 64, device=device)
    call = GraphedCall(lambda a: torch.tanh(a @ weight), recorder_for(device, wanted=True))
    for size in (2, 3, 2):
        a = torch.rand(size, 64, device=device)
        torch.testing.assert_close(call(a), torch.tanh(a @ weight))
    assert call._recorder is not None and len(call._recordings) == 2
