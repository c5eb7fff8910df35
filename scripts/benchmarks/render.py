"""Warp and decode alone, on real driving motion."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmarks.report import Rows, quantile


def render(source: Path, audio: Path, pack: str, speed: dict[str, Any], frames: int = 200, plain: bool = False) -> Rows:
    """Time per frame: one after the other, and in batches where the pack has them.

    Args:
        frames: at most; fewer when they take longer than a minute or so.
        plain: the eager path instead.
    """
    import cv2

    cv2.setNumThreads(1)
    from core.sdk import StreamSDK

    sdk = StreamSDK(data_root=pack, **speed)
    if plain:
        from scripts.benchmarks.plain import make_plain

        make_plain(sdk, pack, speed)
    pairs, avatar = sdk.keypoint_pairs(source, audio, limit=frames)
    models, feature = sdk.models, avatar.features[0]
    times, cpu, begin = [], [], time.perf_counter()
    for x_s, x_d in pairs:
        start, start_cpu = time.perf_counter(), time.thread_time()
        models.decode(models.warp(feature, x_s, x_d))
        times.append(1000 * (time.perf_counter() - start))
        cpu.append(1000 * (time.thread_time() - start_cpu))
        if time.perf_counter() - begin > 60:
            break
    rows = {
        "render, ms per frame, median": quantile(times, 0.5),
        "render, ms per frame, 95%": quantile(times, 0.95),
        "render, ms per frame, processor time, median": quantile(cpu, 0.5),
    }
    if models.batch is not None:
        rows |= _batched(models.batch, feature, pairs)
    return rows


def _batched(batch: Any, feature: Any, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Rows:
    """The same frames, as many at once as the pack takes."""
    times, begin = [], time.perf_counter()
    for first in range(0, len(pairs) - batch.size + 1, batch.size):
        x_s, x_d = (np.concatenate(arrays) for arrays in zip(*pairs[first : first + batch.size], strict=True))
        start = time.perf_counter()
        for _ in batch.decode(batch.warp([feature] * batch.size, x_s, x_d)):
            pass
        times.append(1000 * (time.perf_counter() - start) / batch.size)
        if time.perf_counter() - begin > 60:
            break
    return {f"render, ms per frame in batches of {batch.size}, median": quantile(times, 0.5)}
