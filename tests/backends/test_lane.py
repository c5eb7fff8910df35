"""Copies and hand-over between stages: plain conversions on a CPU, streams on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core.backends.lane import Lane, Marked

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
def test_there_and_back(device):
    lane = Lane(torch.device(device))
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with lane.active():
        tensor = lane.upload(array)
        array[:] = -1  # what was uploaded is a copy
        back = lane.download(tensor * 2)
    assert tensor.device.type == device and back.dtype == np.float32
    np.testing.assert_array_equal(back, [[0, 2, 4], [6, 8, 10]])


@pytest.mark.parametrize("device", DEVICES)
def test_from_lane_to_lane(device):
    first, second = Lane(torch.device(device)), Lane(torch.device(device))
    with first.active():
        x = first.upload(np.random.default_rng(0).random((500, 500), np.float32))
        for _ in range(20):
            x = torch.tanh(x @ x / 100)
        marked = first.mark(x)
    with second.active():
        found = second.download(second.take(marked) + 1)
    first.wait()
    np.testing.assert_allclose(found, x.cpu().numpy() + 1, rtol=1e-6)


def test_take_moves_to_the_device_of_the_lane():
    lane = Lane(torch.device("cpu"))
    x = torch.ones(2)
    assert lane.take(Marked(x)) is x
