"""Warp and decode of a PyTorch pack: batches, precision, sources, lack of memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core.atomic_components.decode_f3d import DecodeBatchF3D
from core.atomic_components.warp_f3d import WarpBatchF3D
from core.avatars.avatar import Frame
from core.backends.pytorch import KINDS, TorchSession, make_sizes
from core.errors import InputError
from core.models.modules.fold import fold_constants
from core.packs.session_renderer import SessionRenderer
from core.packs.torch_renderer import TorchRenderer
from core.settings.speed import Speed

SIZES = {
    "appearance_extractor": {"widths": [4, 4, 4], "channels": 2, "depth": 2, "res_blocks": 1},
    "warp_network": {"channels": 2, "depth": 2, "compressed": 1, "width": 1, "max_width": 4, "levels": 2},
    "decoder": {"middle": 2, "up": [2, 2]},
}
SIDE = 8  # of the volumes, in place of 64


def make(**speed) -> TorchRenderer:
    """A renderer with tiny random networks, the same in every call."""
    torch.manual_seed(0)
    sessions = []
    for name, sizes in SIZES.items():
        kind = KINDS[name]
        network = fold_constants(kind.network(make_sizes(kind.sizes, sizes)).eval().requires_grad_(False))
        sessions.append(TorchSession(Path(name), kind, network, torch.device("cpu"), Speed(**speed)))
    return TorchRenderer(*sessions)


@pytest.fixture
def frames():
    """Features of two sources, x_s (7, 21, 3), x_d (7, 21, 3)."""
    rng = np.random.default_rng(0)
    features = [torch.from_numpy(rng.random((1, 2, 2, SIDE, SIDE), np.float32)) for _ in range(2)]
    x_s = rng.uniform(-0.5, 0.5, (1, 21, 3)).astype(np.float32)
    x_d = x_s + rng.normal(0, 0.1, (7, 21, 3)).astype(np.float32)
    return features, np.repeat(x_s, 7, 0), x_d


def one_by_one(renderer, features, x_s, x_d) -> np.ndarray:
    """(B, 8 SIDE, 8 SIDE, 3) in 0..1."""
    rows = [slice(i, i + 1) for i in range(len(x_d))]
    volumes = [renderer.warp(feature, x_s[row], x_d[row]) for feature, row in zip(features, rows, strict=True)]
    return np.stack([renderer.decode(volume) for volume in volumes]) / 255


@pytest.mark.parametrize("batch_size", [2, 4, 7, 64])
def test_results_do_not_depend_on_the_batch(frames, batch_size):
    features, x_s, x_d = frames
    shared = [features[0]] * 7
    expected = one_by_one(make(), shared, x_s, x_d)
    renderer = make(batch_size=batch_size)
    volumes = renderer.batch.warp(shared, x_s, x_d)
    assert max(len(volume.tensor) for volume in volumes) == min(batch_size, 4 if batch_size == 64 else 7)
    found = np.stack(list(renderer.batch.decode(volumes))) / 255
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(np.diff(found, axis=0)).max() > 0.005  # seven different frames


def test_frames_of_different_sources_share_a_batch(frames):
    features, x_s, x_d = frames
    mixed = [features[i % 2] for i in range(7)]
    x_s = x_s + np.arange(7, dtype=np.float32)[:, None, None] / 50
    renderer = make(batch_size=4)
    found = np.stack(list(renderer.decode_batch(renderer.warp_batch(mixed, x_s, x_d)))) / 255
    np.testing.assert_allclose(found, one_by_one(make(), mixed, x_s, x_d), atol=1e-4)


def test_features_from_host_memory_are_taken_too(frames):
    features, x_s, x_d = frames
    renderer = make(batch_size=2)
    found = [renderer.warp_batch([kind] * 2, x_s[:2], x_d[:2])[0] for kind in (features[0], features[0].numpy())]
    torch.testing.assert_close(found[0].tensor, found[1].tensor)


def test_each_source_is_prepared_once(frames, monkeypatch):
    features, x_s, x_d = frames
    renderer, calls = make(), []
    network = renderer._warp.network
    prepare = network.prepare
    monkeypatch.setattr(network, "prepare", lambda *args: (calls.append(1), prepare(*args))[1])
    for _ in range(3):
        renderer.warp(features[0], x_s[:1].copy(), x_d[:1])
    assert len(calls) == 1
    renderer.warp(features[1], x_s[:1], x_d[:1])
    renderer.warp(features[1], x_s[:1] + 1, x_d[:1])
    renderer.warp(features[0], x_s[:1], x_d[:1])
    assert len(calls) == 4


def test_batches_are_off_on_the_cpu_unless_asked_for():
    assert make().batch is None and make(batch_size=1).batch is None
    assert make(batch_size=3).batch.size == 3


def test_bfloat16_stays_close_and_float16_needs_a_gpu(frames):
    features, x_s, x_d = frames
    shared = [features[0]] * 2
    exact = one_by_one(make(precision="fp32"), shared, x_s[:2], x_d[:2])
    half = make(precision="bf16")
    assert half._warp.network.fourth.weight.dtype == torch.bfloat16
    difference = np.abs(one_by_one(half, shared, x_s[:2], x_d[:2]) - exact)
    assert 0 < difference.mean() < 0.01 and difference.max() < 0.1
    with pytest.raises(InputError, match="precision fp16 needs a GPU"):
        make(precision="fp16")


def test_memory_that_does_not_suffice_makes_batches_smaller(frames, monkeypatch, caplog):
    features, x_s, x_d = frames
    renderer = make(batch_size=4)
    expected = list(make(batch_size=4).decode_batch(renderer.warp_batch([features[0]] * 7, x_s, x_d)))
    network, warped = renderer._warp.network, []
    warp = network.warp

    def limited(source, points):
        if len(points) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        warped.append(len(points))
        return warp(source, points)

    monkeypatch.setattr(network, "warp", limited)
    found = list(renderer.decode_batch(renderer.warp_batch([features[0]] * 7, x_s, x_d)))
    assert warped == [2, 2, 2, 1] and "no GPU memory for warping of 4 frames at once; going on with 2" in caplog.text
    np.testing.assert_allclose(found, expected, atol=1e-2)
    monkeypatch.setattr(network, "warp", lambda *_: limited(None, [0] * 9))
    with pytest.raises(InputError, match="not enough GPU memory for warping of one frame; close other programs"):
        renderer.warp_batch([features[0]] * 7, x_s, x_d)


def test_stages_of_a_batch(frames):
    features, x_s, x_d = frames
    renderer = make(batch_size=4)
    avatar = SimpleNamespace(features=features)
    rows = [Frame(i, i % 2, x_s=x_s[i : i + 1], x_d=x_d[i : i + 1]) for i in range(5)]
    group = WarpBatchF3D(renderer.warp_batch, avatar)(rows)
    assert len(group) == 5 and group.frames[0].x_d is None
    found = list(DecodeBatchF3D(renderer.decode_batch)(group))
    assert [frame.index for frame in found] == [0, 1, 2, 3, 4] and found[3].volume is None
    expected = renderer.decode(renderer.warp(features[1], x_s[3:4], x_d[3:4]))
    np.testing.assert_allclose(found[3].face, expected, atol=1e-2)


def test_decoded_picture_has_channels_last_and_the_range_of_bytes():
    feature = torch.tensor([[[[-0.5, 0.2]], [[0.4, 0.6]], [[1.0, 1.5]]]])
    renderer = make()
    renderer._decoder.network.forward = lambda x: x
    with renderer._decoder.ready():
        picture = renderer._painted(feature)[0].numpy()
        renderer._bytes = True
        whole = renderer._painted(feature)[0].numpy()
    assert picture.shape == (1, 2, 3) and picture.dtype == np.float32 and picture.flags.c_contiguous
    np.testing.assert_allclose(picture, [[[0, 102, 255], [51, 153, 255]]], rtol=1e-6)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(whole, [[[0, 102, 255], [51, 153, 255]]])
    network = SimpleNamespace(run=lambda feature: {"output": feature}, inputs={}, outputs={}, most_rows=None)
    generic = SessionRenderer(network, network, network)
    np.testing.assert_array_equal(generic.decode(feature.numpy()), picture)


@pytest.mark.slow
def test_compiled_networks_give_the_same_pictures(frames, monkeypatch):
    from core.backends.compiled import CompiledCall
    from core.packs import torch_renderer as module

    features, x_s, x_d = frames
    expected = one_by_one(make(), features, x_s[:2], x_d[:2])
    calls = []

    def compiled(function, name, wanted):
        calls.append(CompiledCall(function, name, backend="eager") if wanted else function)
        return calls[-1]

    monkeypatch.setattr(module, "compiled", compiled)
    found = one_by_one(make(compile=True), features, x_s[:2], x_d[:2])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert len(calls) == 2 and all(call._compiled is not None for call in calls)
