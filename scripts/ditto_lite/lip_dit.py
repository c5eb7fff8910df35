"""A small MotionDiT over what the linear model and the event network say about the lips: data set, training, answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.backends.checkpoint import load_network
from core.lite.lip_shape import smooth_frames
from core.models.lmdm import Lmdm, LmdmSizes
from core.models.sampler import TRAIN_STEPS
from core.packs.motion_config import read_config
from MotionDiT.options import TrainOptions, check
from MotionDiT.train import train

INPUTS, OUTPUTS = 15, 10
FRAMES = 80  # of a window
PIECE = 10, 40  # frames of one clip in a row in a training recording, least and most
RECORDINGS, LENGTH = 14, 4000  # of the training set, and windows of each
NOISE, SHIFT = 0.2, 0.3  # added to the condition in training: to each number, and to each column of a piece
FADE = 0.7  # frames (sigma) over which pauses begin
RECIPE = {  # options of MotionDiT/train.py; one epoch is 3500 steps
    **{"seq_frames": FRAMES, "latent_dim": 32, "num_heads": 1, "ff_size": 64, "cond_layers": 1, "num_layers": 1},
    **{"epochs": 1, "batch_size": 16, "lr": 4e-3, "warmup_steps": 50, "lr_schedule": "cosine", "ema_decay": 0.998},
    **{"dropout": 0.0, "cond_drop_prob": 0.0, "frame_drop_prob": 1.0, "save_ckpt_freq": 1, "state_minutes": 1000.0},
}
OVERLAP, STEP = 20, 5  # frames that two windows of a whole recording share; new frames of a live window
OUTLOOK = 4  # rows at the end of a live window that are known in advance
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip: `fold` of its person, condition (n, 15), components (n, 10), speaking (n,)."""

    fold: int
    condition: np.ndarray
    components: np.ndarray
    speaking: np.ndarray


class MeanMotion(nn.Module):
    """The network asked once, at the last diffusion step and without noise: the mean of all motions it could draw."""

    def __init__(self, network: Lmdm):
        super().__init__()
        self.network = network

    def forward(self, condition: Tensor) -> Tensor:
        """(B, 80, 15) -> (B, 80, 10)."""
        network = self.network
        motion = torch.zeros(condition.shape[0], FRAMES, OUTPUTS)
        tokens, hidden = network.encode(condition, network.rotary.table(FRAMES))
        context = network.context(motion[:, 0], tokens, hidden)
        step = network.steps(context, torch.tensor([[TRAIN_STEPS - 1]])).at(0)
        return network.passes(motion, context, step)


def train_network(
    clips: Sequence[Clip], scale: np.ndarray, folder: Path, seed: int, options: dict | None = None
) -> MeanMotion:
    """Train with MotionDiT/train.py, components weighed by `scale` (10,). Deterministic for a seed and one thread.

    `folder` gets data set and run; what was there is replaced. `options` go over RECIPE.
    """
    write_recordings(clips, folder, np.random.default_rng(seed))
    (folder / "parts.json").write_text(json.dumps({"lips": [0, OUTPUTS, 1]}))
    np.save(folder / "weights.npy", (scale / scale.mean()).astype(np.float32))
    given = TrainOptions(
        experiment_dir=str(folder),
        experiment_name="run",
        overwrite=True,
        use_accelerate=False,
        device="cpu",
        cpu_threads=1,
        seed=seed,
        data_list_json=str(folder / "list.json"),
        data_preload=True,
        motion_feat_dim=OUTPUTS,
        audio_feat_dim=INPUTS,
        part_w_dict_json=str(folder / "parts.json"),
        dim_ws_npy=str(folder / "weights.npy"),
        **{**RECIPE, **(options or {})},
    )
    check(given)
    train(given)
    return load(given.run_folder / "ckpts" / "last_model.pt")


def load(path: Path) -> MeanMotion:
    """The network of a checkpoint of MotionDiT/train.py."""
    sizes = LmdmSizes(**read_config(path).sizes)
    return MeanMotion(load_network(path, Lmdm(sizes), "lmdm", fold=False)).eval()


def write_recordings(clips: Sequence[Clip], folder: Path, rng: np.random.Generator) -> None:
    """Write features for MotionDiT/train.py: recordings that go from one clip to another every few frames.

    So nothing in a window tells whose lips they are, and the network cannot learn its few people by heart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.sqrt([len(clip.condition) for clip in clips])
    records = []
    for number in range(RECORDINGS):
        pieces, frames = [], 0
        while frames < LENGTH + FRAMES:
            clip = clips[rng.choice(len(clips), p=chance / chance.sum())]
            pieces.append(_piece(clip, rng))
            frames += len(pieces[-1][0])
        condition, motion = (np.concatenate(rows)[: LENGTH + FRAMES] for rows in zip(*pieces))
        condition = condition + NOISE * rng.normal(size=condition.shape)
        record = {"mtn": str(folder / f"{number}_mtn.npy"), "aud": str(folder / f"{number}_aud.npy")}
        for name, rows in (("mtn", motion), ("aud", condition)):
            np.save(record[name], rows.astype(np.float32))
        records.append({**record, "frame_num": len(motion)})
    (folder / "list.json").write_text(json.dumps(records))


def _piece(clip: Clip, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Condition and motion of a few frames of a clip; in pauses the motion is what the regression says."""
    length = min(int(rng.integers(PIECE[0], PIECE[1] + 1)), len(clip.condition))
    first = int(rng.integers(len(clip.condition) - length + 1))
    rows = slice(first, first + length)
    said = clip.condition[:, :OUTPUTS]
    share = smooth_frames(clip.speaking[:, None].astype(float), FADE)
    motion = said + share * (clip.components - said)
    return clip.condition[rows] + SHIFT * rng.normal(size=(1, INPUTS)), motion[rows]


def in_windows(rows: np.ndarray, answer: Callable[[np.ndarray], np.ndarray], live: bool = False) -> np.ndarray:
    """Rows (n, k) -> answers (n, m), from windows (80, k) -> (80, m) joined like those of a file or of a stream."""
    if live:
        return _live(rows, answer)
    step = FRAMES - OVERLAP
    rising = (np.arange(OVERLAP, dtype=np.float32) / OVERLAP)[:, None]
    padded = np.pad(rows, ((0, FRAMES), (0, 0)), mode="edge")
    out = answer(padded[:FRAMES])
    for start in range(step, len(rows) - OVERLAP, step):
        found = answer(padded[start : start + FRAMES])
        joint = (1 - rising) * out[-OVERLAP:] + rising * found[:OVERLAP]
        out = np.concatenate([out[:-OVERLAP], joint, found[OVERLAP:]])
    return out[: len(rows)]


def _live(rows: np.ndarray, answer: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Every window gives its last STEP frames before the outlook."""
    end = FRAMES - OUTLOOK
    padded = np.pad(rows, ((end - STEP, FRAMES), (0, 0)), mode="edge")
    found = [answer(padded[start : start + FRAMES])[end - STEP : end] for start in range(0, len(rows), STEP)]
    return np.concatenate(found)[: len(rows)]
