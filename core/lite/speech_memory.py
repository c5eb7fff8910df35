"""What the speech encoder keeps of the sound before a window: keys and values of its attention layers.

A live stream then encodes only what is new. The vectors of the past stay as they were computed, with no more of what
followed them than the look-ahead of their time, which changes the lips little.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LAYERS, HEADS, SIZE = 4, 6, 64
REACH = 2  # mel columns that the convolutions want to see before the first new one


@dataclass(frozen=True)
class Memory:
    """Of the vectors at positions 0 .. len - 1: keys (4, 1, 6, 64, len), values (4, 1, 6, len, 64), float32."""

    keys: np.ndarray = field(default_factory=lambda: np.zeros((LAYERS, 1, HEADS, SIZE, 0), np.float32))
    values: np.ndarray = field(default_factory=lambda: np.zeros((LAYERS, 1, HEADS, 0, SIZE), np.float32))

    def __len__(self) -> int:
        return self.values.shape[-2]

    def followed_by(self, new: Memory, count: int) -> Memory:
        """With the first `count` positions of `new` after these."""
        keys = np.concatenate([self.keys, new.keys[..., :count]], axis=-1)
        return Memory(keys, np.concatenate([self.values, new.values[..., :count, :]], axis=-2))


NOTHING = Memory()
