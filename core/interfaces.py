"""What a model pack offers to the stages. A stage calls these and never learns which backend serves them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.atomic_components.audio2motion import SEQ_FRAMES, Sampler
from core.atomic_components.motion_stitch import StitchNetwork
from core.atomic_components.source2info import FaceAnalyser
from core.motion import MotionSpace


class AudioEncoder(Protocol):
    """Speech -> features, one row per video frame."""

    def blocks(self, audio: np.ndarray) -> Iterator[np.ndarray]:
        """(L,) float32 mono at 16 kHz -> blocks (k, D) float32, together num_frames(L) rows.

        Raises InputError when the audio is empty.
        """


class MotionModel(Protocol):
    """Conditions -> motion."""

    def sampler(self, seed: int, steps: int) -> Sampler:
        """The model for one run, with random numbers of its own; `steps` of the diffusion sampler, if it is one."""


@dataclass(frozen=True)
class Models:
    """A loaded pack.

    Attributes:
        warp: (feature of a source frame, x_s (1, 21, 3), x_d (1, 21, 3)) -> what `decode` takes.
        decode: -> (512, 512, 3) RGB, uint8 or float32 in 0..255.
        stitch: stitching network, or None where the pack needs none.
        blink_array: canonical keypoints (21, 3) -> (m, 63) blink of that face; None: the configuration has one.
        blink_intervals: (rng, frames) -> frames between blinks; None: the configuration decides.
    """

    analyser: FaceAnalyser
    audio: AudioEncoder
    motion: MotionModel
    warp: Callable[[Any, np.ndarray, np.ndarray], Any]
    decode: Callable[[Any], np.ndarray]
    space: MotionSpace = MotionSpace()
    stitch: StitchNetwork | None = None
    blink_array: Callable[[np.ndarray], np.ndarray] | None = None
    blink_intervals: Callable[[random.Random, int], list[int]] | None = None
    seq_frames: int = SEQ_FRAMES
