"""A small convolutional network over what the linear model and the event network say about the lips."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

INPUTS, OUTPUTS = 15, 10
REACH = 7  # frames that an output sees on either side
FRAMES = 80  # of a training sequence
STEPS, BATCH, RATE, DECAY = 600, 32, 2e-3, 0.05
NOISE = 0.1  # added to the inputs in training
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sequence80:
    """A clip: `fold` of its person, condition (n, 15), components (n, 10), speaking (n,); used when n > 80."""

    fold: int
    condition: np.ndarray
    components: np.ndarray
    speaking: np.ndarray


class LipNet(nn.Module):
    """(b, t, 15) -> (b, t, 10); sees +-7 frames, the ends repeated."""

    def __init__(self, hidden: int = 48, dropout: float = 0.3):
        super().__init__()
        self.first = nn.Conv1d(INPUTS, hidden, 5)
        self.second = nn.Conv1d(hidden, hidden, 5, dilation=2)
        self.third = nn.Conv1d(hidden, hidden, 3)
        self.last = nn.Conv1d(hidden, OUTPUTS, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor) -> Tensor:
        """Components for a condition."""
        x = nn.functional.pad(rows.transpose(1, 2), (REACH, REACH), mode="replicate")
        x = torch.relu(self.first(self.dropout(x)))
        x = x[:, :, 4:-4] + torch.relu(self.second(self.dropout(x)))
        x = x[:, :, 1:-1] + torch.relu(self.third(self.dropout(x)))
        return self.last(self.dropout(x)).transpose(1, 2)


def train_net(data: Sequence[Sequence80], scale: np.ndarray, seed: int, steps: int = STEPS) -> LipNet:
    """Train on speaking frames, components weighed by `scale` (10,). Deterministic for a seed and one thread."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    data = [one for one in data if len(one.condition) > FRAMES]
    room = np.array([len(one.condition) - FRAMES for one in data])
    chance = np.sqrt(room) / np.sqrt(room).sum()
    weight = torch.tensor(scale / scale.mean(), dtype=torch.float32)
    net = LipNet()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for _ in range(steps):
        picked = rng.choice(len(data), BATCH, p=chance)
        parts = [(data[i], slice(start, start + FRAMES)) for i in picked for start in [rng.integers(room[i])]]
        rows, wanted = (
            torch.from_numpy(np.stack([getattr(one, name)[part] for one, part in parts]))
            for name in ("condition", "components")
        )
        spoken = torch.from_numpy(np.stack([one.speaking[part] for one, part in parts])).float()[..., None]
        error = (net(rows + NOISE * torch.randn_like(rows)) - wanted) ** 2
        loss = (error * weight * spoken).sum() / spoken.sum() / OUTPUTS
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    log.info("lip network: last loss %.4f", loss.item())
    return net.eval()
