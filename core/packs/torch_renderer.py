"""Warping and decoding with tensors that stay on their device, and what a source needs computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.backends.compiled import compiled
from core.backends.cuda_graph import GraphedCall, recorder_for
from core.backends.lane import Lane, Marked
from core.backends.out_of_memory import BatchLimit, out_of_memory
from core.backends.pytorch import TorchSession
from core.interfaces import BatchRenderer
from core.models.modules.dense_motion import Source
from core.models.warp_network import PreparedSource

Indices = Sequence[int]


@dataclass(frozen=True)
class _Kept:
    """The source that was warped last."""

    feature: Tensor
    x_s: np.ndarray
    prepared: PreparedSource


class TorchRenderer:
    """Appearance, warp and decode of a PyTorch pack. Calls may come from several threads.

    Attributes:
        batch_size: frames that `warp_batch` takes in one call of the network.
    """

    def __init__(self, appearance: TorchSession, warp: TorchSession, decoder: TorchSession):
        speed = warp.speed
        self._appearance, self._warp, self._decoder = appearance, warp, decoder
        self.batch_size = speed.frames_at_once(warp.device.type == "cuda")
        self._warping, self._decoding = (BatchLimit(self.batch_size, name) for name in ("warping", "decoding"))
        self._lanes = {session: Lane(session.device) for session in (appearance, warp, decoder)}
        self._bytes = decoder.device.type == "cuda"  # a quarter of the memory to copy; costs rounding to whole values
        self._move = GraphedCall(
            compiled(self._moved, "warping", speed.compile), recorder_for(warp.device, speed.cuda_graphs)
        )
        self._paint = GraphedCall(
            compiled(self._painted, "decoding", speed.compile), recorder_for(decoder.device, speed.cuda_graphs)
        )
        self._kept: _Kept | None = None  # replaced as a whole, so that threads see one source or the other

    @property
    def batch(self) -> BatchRenderer | None:
        """Itself for several frames at once, if it is to take them."""
        return BatchRenderer(self.batch_size, self.warp_batch, self.decode_batch) if self.batch_size > 1 else None

    def warm_up(self) -> None:
        """On a GPU or where networks are compiled: run and record warp and decode with all batch sizes that occur."""
        if self._warp.device.type == "cpu" and not self._warp.speed.compile:
            return
        feature, points = (self._warp.inputs[name].shape for name in ("feature_3d", "kp_source"))
        still, x = torch.zeros(1, *feature[1:], device=self._warp.device), np.zeros((1, *points[1:]), np.float32)
        sizes = {1 << bit for bit in range(self.batch_size.bit_length())} | {self.batch_size}
        for size in sorted(sizes, reverse=True):
            rows = np.repeat(x, size, 0)
            for _ in self.decode_batch(self.warp_batch([still] * size, rows, rows)):
                pass
        self._kept = None

    def appearance(self, image: np.ndarray) -> Tensor:
        """(1, 3, 256, 256) float32 RGB in 0..1 -> feature volume (1, 32, 16, 64, 64) on the device."""
        session, lane = self._appearance, self._lanes[self._appearance]
        session.check({"image": image})
        with lane.active(), session.ready(), out_of_memory("the appearance network"):
            feature = session.call(lane.upload(image)).float()
            lane.wait()  # from here on every lane may read it
            return feature

    def warp(self, feature: Tensor, x_s: np.ndarray, x_d: np.ndarray) -> Marked:
        """Feature volume and keypoints (1, 21, 3) -> warped features (1, 256, 64, 64) on the device."""
        return self.warp_batch([feature], x_s, x_d)[0]

    def decode(self, volume: Marked) -> np.ndarray:
        """Warped features -> (512, 512, 3) RGB in 0..255, float32; uint8 from a GPU."""
        return next(self.decode_batch([volume]))

    def warp_batch(self, features: Sequence[Tensor], x_s: np.ndarray, x_d: np.ndarray) -> list[Marked]:
        """Feature volumes of B frames and their keypoints (B, 21, 3) -> warped features, in parts of some frames.

        Raises InputError when the GPU has no room for a single frame.
        """

        def warp(part: Indices) -> Marked:
            rows = slice(part[0], part[-1] + 1)
            source = self._prepared(features[rows], x_s[rows])
            return lane.mark(self._move(*_flat(source), lane.upload(x_d[rows])))

        lane = self._lanes[self._warp]
        with lane.active(), self._warp.ready():
            return self._warping.run(warp, range(len(features)))

    def decode_batch(self, volumes: Sequence[Marked]) -> Iterator[np.ndarray]:
        """Parts of `warp_batch` -> one picture per frame, see `decode`; each part is fetched in one copy."""
        for volume in volumes:
            yield from self._pictures(volume)

    def _pictures(self, volume: Marked) -> list[np.ndarray]:
        lane = self._lanes[self._decoder]
        with lane.active(), self._decoder.ready():
            taken = lane.take(volume)

            def paint(part: Indices) -> np.ndarray:
                return lane.download(self._paint(taken[part[0] : part[-1] + 1]))

            return [picture for part in self._decoding.run(paint, range(len(taken))) for picture in part]

    def _moved(self, feature: Tensor, *parts: Tensor) -> Tensor:
        """The warping network with what `_flat` gives and the driven keypoints."""
        *source, x_d = parts
        return self._warp.network.warp(PreparedSource(feature, Source(*source)), x_d)

    def _painted(self, volume: Tensor) -> Tensor:
        """(B, 256, 64, 64) -> (B, 512, 512, 3), float32 or uint8 in 0..255."""
        picture = self._decoder.network(volume).float().permute(0, 2, 3, 1).clamp(0, 1).mul(255)
        return (picture + 0.5).to(torch.uint8) if self._bytes else picture.contiguous()

    def _prepared(self, features: Sequence[Tensor], x_s: np.ndarray) -> PreparedSource:
        """One source if all frames share it, which is then kept, else as many as frames."""
        lane, prepare = self._lanes[self._warp], self._warp.network.prepare
        if any(feature is not features[0] for feature in features) or (x_s != x_s[0]).any():
            return prepare(torch.cat([_there(lane, feature) for feature in features]), lane.upload(x_s))
        kept = self._kept
        if kept is None or kept.feature is not features[0] or not np.array_equal(kept.x_s, x_s[:1]):
            prepared = prepare(_there(lane, features[0]), lane.upload(x_s[:1]))
            kept = self._kept = _Kept(features[0], x_s[:1].copy(), prepared)
        return kept.prepared


def _there(lane: Lane, feature: Tensor | np.ndarray) -> Tensor:
    """A feature volume on the lane's device; it may be dropped elsewhere while the lane still reads it."""
    return lane.take(Marked(feature)) if isinstance(feature, Tensor) else lane.upload(feature)


def _flat(source: PreparedSource) -> tuple[Tensor, ...]:
    """The tensors of a prepared source, in the order of its fields."""
    motion = source.motion
    return source.feature_3d, motion.keypoints, motion.grid, motion.compressed, motion.resting, motion.heat
