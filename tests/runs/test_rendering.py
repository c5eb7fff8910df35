"""The render stages in a pipeline: every frame once, in order, whatever waits."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from core.avatars.avatar import Frame
from core.interfaces import BatchRenderer
from core.pipeline import Pipeline, Stage
from core.runs.rendering import render_stages

N = 23


def fake_models(size: int, sizes: list[int], gathered: threading.Event | None = None):
    """A pack whose picture of a frame is (feature + x_d); `sizes` collects the batches.

    With `gathered`, the first batch takes until then.
    """

    def warp(features, x_s, x_d):
        sizes.append(len(x_d))
        assert gathered is None or gathered.wait(60)
        return np.stack(features) + x_d[:, 0, 0]

    batch = BatchRenderer(size, warp, iter) if size > 1 else None
    return SimpleNamespace(warp=lambda f, x_s, x_d: f + x_d[0, 0, 0], decode=lambda volume: volume, batch=batch)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_frame_once_and_in_order(size):
    sizes, faces, gathered = [], [], threading.Event()
    avatar = SimpleNamespace(alpha=None, features=[np.float32(100), np.float32(200)])
    stages = [*render_stages(fake_models(size, sizes, gathered), avatar), Stage("collect", faces.append)]
    with Pipeline(stages) as pipeline:
        for i in range(N):
            keypoints = np.full((1, 21, 3), i, np.float32)
            pipeline.put(Frame(i, i % 2, x_s=keypoints, x_d=keypoints))
            if i == 6:  # one is being warped, more than a batch waits
                gathered.set()
    assert [frame.index for frame in faces] == list(range(N))
    assert [float(frame.face) for frame in faces] == [100 * (1 + i % 2) + i for i in range(N)]
    assert {timing.count for timing in pipeline.timings.values()} == {N}
    if size > 1:
        assert sum(sizes) == N and max(sizes) == size


def test_a_single_frame_is_not_held_back():
    sizes, arrived = [], threading.Event()
    avatar = SimpleNamespace(alpha=None, features=[np.float32(0)])
    stages = [*render_stages(fake_models(4, sizes), avatar), Stage("collect", lambda frame: arrived.set())]
    with Pipeline(stages) as pipeline:
        for i in range(3):
            arrived.clear()
            pipeline.put(Frame(i, 0, x_s=np.zeros((1, 21, 3)), x_d=np.zeros((1, 21, 3))))
            assert arrived.wait(60)
    assert sizes == [1, 1, 1]


def test_a_failing_batch_stops_the_run():
    models = fake_models(4, [])
    broken = SimpleNamespace(warp=None, decode=None, batch=BatchRenderer(4, models.batch.warp, lambda volume: 1 / 0))
    avatar = SimpleNamespace(alpha=None, features=[np.float32(0)])
    with pytest.raises(Exception, match="stage 'decode_f3d' failed: ZeroDivisionError"):
        with Pipeline([*render_stages(broken, avatar), Stage("collect", print)]) as pipeline:
            for i in range(N):
                pipeline.put(Frame(i, 0, x_s=np.zeros((1, 21, 3)), x_d=np.zeros((1, 21, 3))))
