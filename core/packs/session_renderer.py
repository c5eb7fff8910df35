"""Appearance, warp and decode of packs whose networks are sessions: ONNX Runtime or TensorRT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.backends.handover import LastUpload, on_gpu, share_gpu
from core.backends.session import CheckedSession
from core.interfaces import BatchRenderer
from core.settings.speed import Speed


class SessionRenderer:
    """Renders with three sessions. Calls may come from several threads.

    On a GPU the source's volume is uploaded once and warped features stay there; else all arrays are in host memory.
    """

    def __init__(
        self, appearance: CheckedSession, warp: CheckedSession, decoder: CheckedSession, speed: Speed = Speed()
    ):
        self._appearance, self._warp, self._decoder = appearance, warp, decoder
        self._upload = LastUpload(warp) if share_gpu(warp, decoder) else None
        self._batch_size = min(speed.frames_at_once(on_gpu(warp)), _most_frames(warp), _most_frames(decoder))
        self._stacked: tuple[tuple[np.ndarray, ...], np.ndarray] | None = None  # replaced as a whole

    @property
    def batch(self) -> BatchRenderer | None:
        """Itself for several frames at once, if the networks take them and it is to."""
        size = self._batch_size
        return BatchRenderer(size, self.warp_batch, self.decode_batch) if size > 1 else None

    def appearance(self, image: np.ndarray) -> np.ndarray:
        """(1, 3, 256, 256) float32 RGB in 0..1 -> feature volume (1, 32, 16, 64, 64)."""
        return self._appearance.run(image=image)["pred"]

    def warp(self, feature: np.ndarray, x_s: np.ndarray, x_d: np.ndarray) -> Any:
        """Feature volume and keypoints (1, 21, 3) -> warped features (1, 256, 64, 64), on the device of `decode`."""
        return self.warp_batch([feature], x_s, x_d)

    def decode(self, volume: Any) -> np.ndarray:
        """Warped features -> (512, 512, 3) float32 RGB in 0..255."""
        return self.decode_batch(volume)[0]

    def warp_batch(self, features: Sequence[np.ndarray], x_s: np.ndarray, x_d: np.ndarray) -> Any:
        """Feature volumes of B frames and their keypoints (B, 21, 3) -> warped features (B, 256, 64, 64)."""
        volume = self._stack(features)
        points = {"kp_source": _f32(x_s), "kp_driving": _f32(x_d)}
        if self._upload is None:
            return self._warp.run(feature_3d=volume, **points)["out"]
        return self._warp.run_on_device(feature_3d=self._upload(volume), **points)["out"]

    def decode_batch(self, volume: Any) -> list[np.ndarray]:
        """Warped features of B frames -> B pictures as of `decode`."""
        pictures = self._decoder.run(feature=volume)["output"].transpose(0, 2, 3, 1)
        return [np.multiply(picture.clip(0, 1), np.float32(255), order="C") for picture in pictures]

    def _stack(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """(B, 32, 16, 64, 64); the same array for the same features, so that a source is uploaded once."""
        if len(features) == 1:
            return features[0]
        kept = self._stacked
        if kept is None or len(kept[0]) != len(features) or any(a is not b for a, b in zip(kept[0], features)):
            kept = self._stacked = tuple(features), np.concatenate(features)
        return kept[1]


def _most_frames(session: CheckedSession) -> float:
    """Frames that a network takes in one call: 1 unless the first axis of all its inputs and outputs is free."""
    ends = (*session.inputs.values(), *session.outputs.values())
    if any(not spec.shape or isinstance(spec.shape[0], int) for spec in ends):
        return 1
    return float("inf") if session.most_rows is None else session.most_rows


def _f32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
