"""Appearance features of an avatar's frames, made when the renderer asks for them (spec pipeline.md section 4)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from core.interfaces import FaceAnalyser
from core.utils.crop import cut_again

KEPT = 4  # a feature is megabytes; playing back and forth asks for the same frame at most twice in a row


class LazyFeatures(Sequence[Any]):
    """Features by frame number. May be shared by threads."""

    def __init__(
        self,
        analyser: FaceAnalyser,
        frames: Sequence[np.ndarray],
        M_c2o: np.ndarray,
        mesh: np.ndarray,
        same: np.ndarray,
    ):
        """Prepare for n frames.

        Args:
            M_c2o, mesh: (n, 3, 3) and (n, 478, 3) float32, as in Avatar.
            same: (n,) numbers that are equal for frames that show the same picture.
        """
        self._analyser, self._frames = analyser, frames
        self._M_c2o, self._mesh, self._same = M_c2o, mesh, same
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._M_c2o)

    def __getitem__(self, index: int) -> Any:
        number = int(self._same[index])
        with self._lock:
            if number not in self._kept:
                self._kept[number] = self._analyser.feature(self._crop(index), self._mesh[index], self._look)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]

    @cached_property
    def _look(self) -> Any:
        """What all frames share, None where they are one picture; found when the first feature is asked for."""
        first = np.unique(self._same, return_index=True)[1]
        if len(first) < 2:
            return None
        return self._analyser.video_look(self._mesh[first], lambda k: self._crop(int(first[k])))

    def _crop(self, index: int) -> np.ndarray:
        return cut_again(self._frames[index], self._M_c2o[index], self._analyser.border)
