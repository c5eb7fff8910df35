"""Events heard in speech (lips closed, on the teeth, rounded, speech at all): a network and its synthetic data."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from ridge import Projection
from torch import nn

from core.lite.speech_encoder import SpeechEncoder

CLOSED, LIP_TEETH, ROUNDED, SPEECH = range(4)
PHONES = (
    frozenset("b p m".split()),
    frozenset("f v".split()),
    frozenset("w uw ow r er sh ch jh oy ao uh".split()),
)
SILENCE = ("pau", "ssil")
FRAME = 0.04  # seconds
SEGMENT = 64  # frames of a training sequence
MARGIN = 0.2  # seconds of silence added before and after
log = logging.getLogger(__name__)


@dataclass
class Utterance:
    """Synthetic speech: features (n, 385), labels (n, 4) = part of the frame that the event covers."""

    name: str
    voice: str
    features: np.ndarray
    labels: np.ndarray


class EventNet(nn.Module):
    """(b, t, k) -> logits (b, t, 4); sees +-3 frames, the ends repeated."""

    def __init__(self, inputs: int, hidden: int = 64, dropout: float = 0.2):
        super().__init__()
        self.first = nn.Conv1d(inputs, hidden, 5)
        self.second = nn.Conv1d(hidden, hidden, 3)
        self.last = nn.Conv1d(hidden, 4, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Logits of the four events."""
        x = nn.functional.pad(z.transpose(1, 2), (3, 3), mode="replicate")
        x = self.dropout(torch.relu(self.first(x)))
        x = self.dropout(torch.relu(self.second(x)))
        return self.last(x).transpose(1, 2)


def load_utterances(folder: Path, encoder: SpeechEncoder, seed: int) -> list[Utterance]:
    """Utterances of make_phone_speech.py with random loudness and noise, then as many seconds / 8 of noise alone."""
    rng = np.random.default_rng(seed)
    index = json.loads((folder / "phones.json").read_text())
    out = []
    for name, entry in index.items():
        audio, rate = soundfile.read(folder / f"{name}.wav", dtype="float32")
        if rate != 16000:
            raise ValueError(f"{name}.wav has {rate} Hz, expected 16000")
        audio = degrade(np.pad(audio, round(MARGIN * rate)), rng)
        features = encoder.extract(audio).astype(np.float16)
        phones = [(phone, start + MARGIN, end + MARGIN) for phone, start, end in entry["phones"]]
        out.append(Utterance(name, entry["voice"], features, phone_labels(phones, len(features))))
    for i in range(len(out) // 8):
        features = encoder.extract(noise(rng)).astype(np.float16)
        out.append(Utterance(f"noise_{i}", "noise", features, np.zeros((len(features), 4), np.float32)))
    return out


def degrade(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speech at a random loudness with coloured noise, 10 to 45 dB below it."""
    hiss = np.convolve(rng.normal(size=len(audio)), np.ones(int(rng.integers(1, 12))), "same")
    level = audio.std() / hiss.std() * 10 ** (-rng.uniform(10, 45) / 20)
    return (10 ** rng.uniform(-1, 0) * (audio + level * hiss)).astype(np.float32)


def noise(rng: np.random.Generator, seconds: float = 3.0) -> np.ndarray:
    """Hiss, hum, clicks and chords without speech, at any loudness."""
    count = int(seconds * 16000)
    time = np.arange(count) / 16000
    hiss = np.convolve(rng.normal(size=count), np.ones(int(rng.integers(1, 60))), "same")
    swell = 1 + rng.uniform(0, 1) * np.sin(2 * np.pi * rng.uniform(0.3, 4) * time)
    tones = sum(np.sin(2 * np.pi * f * time) / (i + 1) for i, f in enumerate(rng.uniform(60, 1500, 4)))
    clicks = rng.normal(size=count) * (rng.random(count) < 3 / 16000)
    clicks = np.convolve(clicks, np.exp(-np.arange(400) / 60) * rng.normal(size=400), "same")
    parts = [part / (part.std() + 1e-6) for part in (hiss * swell, tones * swell, clicks)]
    mixed = sum(weight * part for weight, part in zip(rng.dirichlet([0.4] * 3), parts))
    return (10 ** rng.uniform(-4, -0.7) * mixed).astype(np.float32)


def phone_labels(phones: list[tuple[str, float, float]], count: int) -> np.ndarray:
    """(count, 4): the part of each frame with the lips closed, on the teeth, rounded, and with speech at all."""
    starts = np.arange(count) * FRAME
    labels = np.zeros((count, 4), np.float32)
    for phone, start, end in phones:
        covered = np.clip(np.minimum(starts + FRAME, end) - np.maximum(starts, start), 0, FRAME) / FRAME
        peak = covered >= max(covered.max(), 1e-6)  # however short, it has a frame of its own
        for event, names in enumerate(PHONES):
            labels[:, event] += np.maximum(covered, peak) * (phone in names)
        labels[:, SPEECH] += covered * (phone not in SILENCE)
    return np.clip(labels, 0, 1)


def train_events(items: list[Utterance], projection: Projection, seed: int, epochs: int = 12) -> EventNet:
    """Train the event network. Deterministic for a seed and one thread."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    data = [(projection(item.features.astype(np.float32)), item.labels) for item in items]
    net = EventNet(data[0][0].shape[1])
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    steps = epochs * len(list(_batches(data, np.random.default_rng(0))))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    weight = torch.tensor([2.0, 2.0, 1.0, 1.0])
    for _ in range(epochs):
        for z, labels in _batches(data, rng):
            z = z + 0.3 * torch.randn_like(z)
            loss = nn.functional.binary_cross_entropy_with_logits(net(z), labels, pos_weight=weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    log.info("event network: last loss %.4f", loss.item())
    return net.eval()


def _batches(data: list, rng: np.random.Generator, size: int = 32) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    starts = [(i, a) for i, (z, _) in enumerate(data) for a in range(0, len(z) - SEGMENT + 1, 24)]
    order = rng.permutation(len(starts))
    for first in range(0, len(order) - size + 1, size):
        picked = [starts[k] for k in order[first : first + size]]
        z = np.stack([data[i][0][a : a + SEGMENT] for i, a in picked])
        labels = np.stack([data[i][1][a : a + SEGMENT] for i, a in picked])
        yield torch.from_numpy(z), torch.from_numpy(labels)


def probabilities(net: EventNet, projection: Projection, features: np.ndarray) -> np.ndarray:
    """(n, 385) features -> (n, 4) event probabilities."""
    with torch.no_grad():
        return torch.sigmoid(net(torch.from_numpy(projection(features.astype(np.float32))[None])))[0].numpy()
