"""Each network alone, at several batch sizes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from core.backends import load
from core.backends.cuda_graph import GraphedCall, recorder_for
from core.backends.lane import Lane
from core.backends.pytorch import TorchSession
from core.errors import InputError
from core.packs.pack import find_pack, open_pack
from core.settings.speed import Speed
from scripts.benchmarks.plain import load_plain
from scripts.benchmarks.report import Rows, quantile

NAMES = ("appearance_extractor", "motion_extractor", "warp_network", "decoder")


def networks(pack: str, speed: dict[str, Any], batches: list[int], runs: int = 5, compare: bool = False) -> Rows:
    """Milliseconds per frame, median; on a CPU its time besides, which other programs disturb less.

    Raises InputError for packs that are not of PyTorch.
    """
    opened = open_pack(find_pack(pack), None, {})
    if opened.embedded:
        raise InputError("--what networks needs a PyTorch pack, such as --pack small or --pack random")
    rows: Rows = {"threads": float(torch.get_num_threads())}
    for name in NAMES:
        entry, path = opened.config.base_cfg[f"{name}_cfg"], opened.files[f"{name}_cfg"]
        options = Speed(**speed)
        where = options.device or entry.get("device") or "auto"
        session = load(path, where, net_name=name, sizes=entry.get("sizes"), speed=options)
        if not isinstance(session, TorchSession):
            raise InputError(f"{path}: --what networks needs a PyTorch pack")
        plain = load_plain(opened.config, opened.files, name, session.device) if compare else None
        for batch in batches:
            inputs = _inputs(session, batch)
            with session.ready():
                rows |= _timed(f"{name}, batch {batch}", _call(session, name, inputs), batch, runs, session.device)
            if plain is not None:
                context = torch.autocast(session.device.type, torch.float16, enabled=session.device.type == "cuda")
                with torch.inference_mode(), context:
                    work = partial(plain, *inputs)
                    rows |= _timed(f"{name}, batch {batch}, plain eager", work, batch, runs, session.device)
    return rows


def _call(session: TorchSession, name: str, inputs: list[torch.Tensor]) -> Callable[[], Any]:
    """The product's way to call a network: source prepared, recorded on a GPU."""
    recorder = recorder_for(session.device, session.speed.cuda_graphs)
    if name == "motion_extractor":  # gives several tensors, once per source: not recorded
        return lambda: session.call(*inputs)
    if name == "warp_network":
        feature, x_s, x_d = inputs
        source = session.network.prepare(feature[:1], x_s[:1])
        graphed = GraphedCall(lambda points: session.network.warp(source, points), recorder)
        return lambda: graphed(x_d)
    graphed = GraphedCall(session.call, recorder)
    return lambda: graphed(*inputs)


def _inputs(session: TorchSession, batch: int) -> list[torch.Tensor]:
    """Random inputs of a batch."""
    rng = np.random.default_rng(0)
    shapes = ((batch, *spec.shape[1:]) for spec in session.inputs.values())
    return [session.tensor(rng.random(shape, np.float32)) for shape in shapes]


def _timed(title: str, work: Callable[[], Any], batch: int, runs: int, device: torch.device) -> Rows:
    """Rows of one network; the first call is left out."""
    lane, wall, processor = Lane(device), [], []
    with lane.active():
        for _ in range(runs + 1):
            start, start_cpu = time.perf_counter(), time.process_time()
            work()
            lane.wait()
            wall.append(1000 * (time.perf_counter() - start) / batch)
            processor.append(1000 * (time.process_time() - start_cpu) / batch)
    rows = {f"{title}, ms per frame": quantile(wall[1:], 0.5)}
    if device.type == "cpu":
        rows[f"{title}, processor time, ms per frame"] = quantile(processor[1:], 0.5)
    return rows
