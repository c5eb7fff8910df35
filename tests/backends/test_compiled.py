"""torch.compile and the way back from it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from core.backends.compiled import CompiledCall, compiled
from core.models.modules.dense_motion import DenseMotionSizes, Source
from core.models.warp_network import PreparedSource, WarpingNetwork

TINY = DenseMotionSizes(keypoints=3, channels=4, depth=4, compressed=2, width=4, max_width=16, levels=2)


def test_compiled_network_gives_the_same_numbers():
    torch.manual_seed(0)
    network = WarpingNetwork(TINY, out_channels=8).eval().requires_grad_(False)
    points = torch.rand(4, 2, 3, 3) - 0.5
    with torch.inference_mode():
        source = network.prepare(torch.randn(2, 4, 4, 8, 8), points[0])
        motion = source.motion
        parts = (source.feature_3d, motion.keypoints, motion.grid, motion.compressed, motion.resting, motion.heat)

        def warp(feature, *rest):
            return network.warp(PreparedSource(feature, Source(*rest[:-1])), rest[-1])

        call = CompiledCall(warp, "warping", backend="eager")
        for driving in points[1:2]:
            torch.testing.assert_close(call(*parts, driving), network.warp(source, driving))
    assert call._compiled is not None


def test_what_cannot_be_compiled_runs_as_it_is(caplog):
    def backend(graph, inputs):
        raise RuntimeError("no C++ compiler found\nand much more")

    call = CompiledCall(lambda x: x + 1, "decoding", backend=backend)
    assert call(torch.zeros(1)).item() == 1 and call(torch.ones(1)).item() == 2
    said = [record.getMessage() for record in caplog.records if record.name == "core.backends.compiled"]
    assert len(said) == 1 and said[0].startswith("decoding runs without torch.compile (")
    assert "no C++ compiler found" in said[0] and "\n" not in said[0] and "much more" not in said[0]


def test_mistakes_and_lack_of_memory_are_passed_on():
    call = CompiledCall(lambda x: x @ torch.ones(3), "decoding", backend="eager")
    with pytest.raises(RuntimeError):
        call(torch.ones(2))

    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    call = CompiledCall(full, "decoding", backend="eager")
    call._compiled = full
    with pytest.raises(torch.OutOfMemoryError):
        call(torch.ones(2))


def test_nothing_is_compiled_unless_wanted():
    assert compiled(abs, "x", wanted=False) is abs
