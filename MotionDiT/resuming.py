"""What state.pt holds: everything that a resumed run needs to give the numbers of an unbroken one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import InputError
from MotionDiT.options import TrainOptions

if TYPE_CHECKING:
    from MotionDiT.trainer import Trainer

LOG = logging.getLogger(__name__)
FREE = {  # options that a resumed run may change; all others decide the numbers
    *("experiment_dir", "resume", "overwrite", "epochs", "num_workers", "log_every", "device", "use_accelerate"),
    *("data_preload", "data_preload_pkl", "data_mmap_dir", "data_cache", "data_list_json", "reprepare_idx_map"),
    *("val_freq", "cpu_threads", "checkpoint", "save_ckpt_freq", "max_ckpts", "ckpt_format", "state_minutes"),
    *("use_cond_end", "compile"),
}


@dataclass
class Progress:
    """Where a run is: the next batch `number` of `epoch`, steps done, the best loss so far."""

    epoch: int = 1
    number: int = 0
    step: int = 0
    best: float = float("inf")


def state_of(trainer: Trainer) -> dict[str, Any]:
    """The state of a run. Random numbers are functions of seed and step, so they have none."""
    average, adaptive = trainer.average, trainer.adaptive
    return {
        "progress": asdict(trainer.progress),
        "options": json.dumps(asdict(trainer.options)),
        "data": [trainer.data.name, trainer.runtime.world],
        "network": trainer.network.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.runtime.scaler_state(),
        "average": [average.network.state_dict(), average.count] if average else None,
        "adaptive": [adaptive.means, adaptive.count] if adaptive else None,
        "meter": [trainer.meter.sums.tolist(), trainer.meter.count],
    }


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Put a run where `state_of` found it. Raises InputError when that run had other settings, data or processes."""
    _require_same(json.loads(state["options"]), trainer.options)
    if state["data"] != [trainer.data.name, trainer.runtime.world]:
        raise InputError("--resume needs the same records and the same number of processes as before")
    trainer.progress = Progress(**state["progress"])
    trainer.network.load_state_dict(state["network"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.runtime.scaler_state(state["scaler"])
    if trainer.average:
        trainer.average.network.load_state_dict(state["average"][0])
        trainer.average.count = state["average"][1]
    if trainer.adaptive:
        means, trainer.adaptive.count = state["adaptive"]
        trainer.adaptive.means = means.to(trainer.runtime.device)
    trainer.meter.sums, trainer.meter.count = np.array(state["meter"][0]), state["meter"][1]


def _require_same(before: dict[str, Any], options: TrainOptions) -> None:
    now = json.loads(json.dumps(asdict(options)))
    changed = [f"--{k} was {before.get(k)}, is {v}" for k, v in now.items() if k not in FREE and before.get(k) != v]
    if changed:
        raise InputError(f"--resume keeps the settings of the run, but {'; '.join(changed)}")
    if before["epochs"] != options.epochs and options.lr_schedule == "cosine":
        LOG.warning("--epochs was %d: the cosine now ends at %d", before["epochs"], options.epochs)
