"""What a model pack offers to the stages. A stage calls these and never learns which backend serves them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.motion import SEQ_FRAMES, Motion, MotionSpace

StitchNetwork = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x_s, x_d (1, 21, 3) -> x_d


@dataclass(frozen=True)
class FoundFace:
    """A face in a frame: `landmarks` (m, 2 or more) float32 in frame pixels, as many as the pack's finder gives."""

    landmarks: np.ndarray
    score: float


@dataclass(frozen=True)
class FaceDescription:
    """What a pack sees in one 512 crop: 478 landmarks (478, 3) float32 in crop pixels, and motion with `kp`."""

    landmarks: np.ndarray
    motion: Motion


class FaceAnalyser(Protocol):
    """The face models of a pack."""

    min_score: float  # a face must reach it
    border: int  # OpenCV border mode for the part of a crop that lies outside the frame
    steady_crop: bool  # in a video the crop may lag behind the face, so as to rest while that moves little

    def find(self, frame: np.ndarray) -> tuple[list[FoundFace], float]:
        """All faces of an (H, W, 3) RGB frame, largest first, and the best score seen even if none passed."""

    def track(self, frame: np.ndarray, previous: np.ndarray) -> FoundFace | None:
        """The face near the `previous` landmarks, or None when it is lost."""

    def crop_points(self, landmarks: np.ndarray) -> np.ndarray:
        """The points, (k, 2), that the crop square must enclose."""

    def describe(self, crop: np.ndarray, landmarks: np.ndarray) -> FaceDescription:
        """What a 512 crop shows, given the found landmarks in crop pixels. Raises InputError when that is no face."""

    def settle(self, motion: Motion) -> Motion:
        """The motion of a whole video, from those of its frames as `describe` gave them."""

    def video_look(self, meshes: np.ndarray, crop_of: Callable[[int], np.ndarray]) -> Any:
        """What the features of a video's n frames share: meshes (n, 478, 3), number of a frame -> its 512 crop."""

    def feature(self, crop: np.ndarray, mesh: np.ndarray, look: Any = None) -> Any:
        """Appearance of a 512 crop with the mesh (478, 3) of its description; only the pack's warp looks inside.

        `look`: in a video, what `video_look` gave.
        """


class AudioStream(Protocol):
    """Features of a recording that arrives in pieces; they do not depend on how it is cut.

    Attributes:
        step: frames of a block; `first_step`: frames of the first one.
        look_ahead: samples beyond the end of a block that must have arrived before it comes out.
        ahead: frames of look-ahead that get rows of their own; 0 for an encoder that gives none.
        outlook: (ahead, D) these rows for the block that came out last, not yet what they will be: context for motion.
    """

    step: int
    first_step: int
    look_ahead: int
    ahead: int
    outlook: np.ndarray

    def push(self, samples: np.ndarray) -> np.ndarray:
        """(m,) float32 more samples at 16 kHz, any m -> the rows (k, D) float32 that they complete, often k = 0."""

    def finish(self) -> np.ndarray:
        """The rows (k, D) that are left: num_frames(samples) in all. The stream cannot be used afterwards."""


class AudioEncoder(Protocol):
    """Speech -> features, one row per video frame. `can_stream` is False when it needs the whole recording."""

    can_stream: bool

    def blocks(self, audio: np.ndarray) -> Iterator[np.ndarray]:
        """(L,) float32 mono at 16 kHz -> blocks (k, D) float32, together num_frames(L) rows.

        Raises InputError when the audio is empty.
        """

    def extract(self, audio: np.ndarray) -> np.ndarray:
        """All of `blocks` as one array (num_frames(L), D)."""

    def silence(self, frames: int) -> np.ndarray:
        """(frames, D) features of silence, the warm-up of a live run (spec 12.1)."""

    def stream(self, chunk_size: tuple[int, int, int] | None = None, first_step: int | None = None) -> AudioStream:
        """A new stream.

        Args:
            chunk_size: past, current and future frames of a window; None for what suits the encoder. An encoder with
                context of its own takes only the current frames from it.
            first_step: current frames of the first window, at most those of `chunk_size`; None for the same.

        Raises InputError for impossible sizes, or with the reason when the encoder cannot stream.
        """


class Sampler(Protocol):
    """One run of the motion model, with its own random numbers."""

    def __call__(self, cond_frame: np.ndarray, cond: np.ndarray, start: int) -> np.ndarray:
        """(1, 265) motion to continue, (1, S, C) condition rows of frames start .. -> (1, S, 265) float32."""


class MotionModel(Protocol):
    """Conditions -> motion."""

    def sampler(self, seed: int, steps: int, method: str = "ddim") -> Sampler:
        """The model for one run, with random numbers of its own; `steps` and `method` are those of diffusion."""


@dataclass(frozen=True)
class BatchRenderer:
    """Warp and decode of several frames at once, with the results of one at a time.

    Attributes:
        size: most frames of one call; fewer are fine.
        warp: (features of B source frames, x_s (B, 21, 3), x_d (B, 21, 3)) -> what `decode` takes.
        decode: -> B pictures, (512, 512, 3) RGB, uint8 or float32 in 0..255.
    """

    size: int
    warp: Callable[[Sequence[Any], np.ndarray, np.ndarray], Any]
    decode: Callable[[Any], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Models:
    """A loaded pack.

    Attributes:
        warp: (feature of a source frame, x_s (1, 21, 3), x_d (1, 21, 3)) -> what `decode` takes.
        decode: -> (512, 512, 3) RGB, uint8 or float32 in 0..255.
        batch: renderer of several frames; None where it would gain nothing.
        stitch: stitching network, or None where the pack needs none.
        blink_array: canonical keypoints (21, 3) -> (m, 63) blink of that face; None: the configuration has one.
        blink_intervals: (rng, frames) -> frames between blinks; None: the configuration decides.
        move_alpha: (what `warp` returned, (512, 512) uint8 opacity of the source crop) -> that of the rendered crop;
            None: opacity cannot follow the head.
        identity: what tells these models from those of other packs, for what is kept on disk; "" keeps nothing.
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
    batch: BatchRenderer | None = None
    identity: str = ""
    move_alpha: Callable[[Any, np.ndarray], np.ndarray] | None = None
