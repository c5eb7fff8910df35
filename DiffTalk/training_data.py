"""What a training run reads: its lists of items, and the order in which they come (spec difftalk.md section 10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from core.errors import InputError
from DiffTalk.config import Config
from DiffTalk.dataset import SamplingFaces, TalkingFaces

TRAIN_LIST, TEST_LIST = "data_train.txt", "data_test.txt"


class Shuffled(Sampler):
    """All indices in an order that seed and epoch decide."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed, self.epoch = count, seed, 0

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(self.count, generator=generator).tolist()

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class TrainingData:
    """Training items, validation items, and the same with what sampling needs."""

    items: TalkingFaces
    tests: TalkingFaces
    shown: SamplingFaces

    @classmethod
    def load(cls, config: Config, seed: int) -> TrainingData:
        """Read the lists and look for every file. Raises InputError."""
        data = config.data
        common = (config.model.image_size, data.mask_point, data.missing, seed)
        return cls(
            TalkingFaces(data.root, TRAIN_LIST, *common),
            TalkingFaces(data.root, TEST_LIST, *common),
            SamplingFaces(data.root, TEST_LIST, *common),
        )

    def check_enough(self, wanted: int) -> None:
        """Raises InputError when the training items do not fill one optimiser step."""
        if len(self.items) < wanted:
            root = self.items.layout.root
            raise InputError(f"{root}: {len(self.items)} training frames do not fill one step of {wanted}")
