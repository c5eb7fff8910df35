"""What the registrar makes of a source (`Avatar`), and what travels through the stage queues (`Frame`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.motion import Motion, mirror_index


@dataclass
class Avatar:
    """A registered source: n source frames and what was found in each (spec pipeline.md section 7).

    Attributes:
        frames: n pictures, (H, W, 3) uint8 RGB, perhaps read-only; a video's are decoded when they are asked for.
        M_c2o: (n, 3, 3) float32, face crop pixels -> frame pixels.
        motion: source motion of n frames, with canonical keypoints `kp`.
        features: n appearance features, made when they are asked for; only the warp stage looks inside.
        eye_open: (n, 2) float32 lid opening over eye width, left and right.
        eye_ball: (n, 6) float32 gaze offsets [Lx, Rx, Ly, Ry, Lz, Rz].
        sc: (63,) float32, canonical keypoints of frame 0 before temporal smoothing.
        mesh: (n, 478, 3) float32 landmarks in crop pixels, or None.
        is_image: one still picture, not a video.
        delta_eye_arr: (m, 63) float32 blink offsets made for this face, or None when the pack's configuration has them.
    """

    frames: Sequence[np.ndarray]
    M_c2o: np.ndarray
    motion: Motion
    features: Sequence[Any]
    eye_open: np.ndarray
    eye_ball: np.ndarray
    sc: np.ndarray
    is_image: bool = True
    delta_eye_arr: np.ndarray | None = None
    mesh: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.M_c2o)

    def source_index(self, index: int) -> int:
        """Source frame shown at output frame `index`: the source plays forwards and backwards in turn."""
        return mirror_index(index, len(self))


@dataclass
class Frame:
    """One output frame on its way. Each stage adds its field and drops what nobody needs any more.

    Attributes:
        index: output frame number, from 0.
        source: index into the avatar's frames.
        motion: driving motion (n = 1), after audio-to-motion.
        x_s, x_d: source and driving keypoints, each (1, 21, 3) float32, after stitching.
        volume: what the pack's warp returns.
        face: rendered crop, (512, 512, 3) RGB in 0..255, after decoding.
        image: the finished picture, (H, W, 3) uint8 RGB.
        heard: samples of a live stream that had to arrive before this frame could be made.
        voice: 0..1, how far the lips follow the speech; 0 is at rest.
    """

    index: int
    source: int
    motion: Motion | None = None
    x_s: np.ndarray | None = None
    x_d: np.ndarray | None = None
    volume: Any = None
    face: np.ndarray | None = None
    image: np.ndarray | None = None
    heard: int = 0
    voice: float = 1.0
