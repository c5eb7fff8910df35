"""What the registrar makes of a source (`Avatar`), and what travels through the stage queues (`Frame`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from core.motion import FPS, Motion, frames_at, loop_index


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
        sc: (63,) float32, canonical keypoints of the reference frame before temporal smoothing.
        mesh: (n, 478, 3) float32 landmarks in crop pixels, or None.
        is_image: one still picture, not a video.
        delta_eye_arr: (m, 63) float32 blink offsets made for this face, or None when the pack's configuration has them.
        loop: what is shown after the last frame, see `core.motion.loop_index`.
        rate: source frames per second of the result.
        reference: the frame that stands for the others.
        start: (265,) float32 motion that generation starts from; None: that of the reference frame.
        lips: (63,) float32 expression to which the lips of all frames return; None: each frame to its own.
        alpha: n pictures, (H, W) uint8 opacity, or None.
        path: the file, folder or pattern that was registered, which no run may write to.
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
    loop: str = "mirror"
    rate: Fraction = Fraction(FPS)
    reference: int = 0
    start: np.ndarray | None = None
    lips: np.ndarray | None = None
    alpha: Sequence[np.ndarray] | None = None
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.M_c2o)

    def source_index(self, index: int) -> int:
        """Source frame shown at output frame `index`."""
        return loop_index(index, len(self), self.loop)

    def source_at(self, tick: int) -> int:
        """Source frame shown at frame `tick` of the speech, 25 per second."""
        return self.source_index(round(tick * self.rate / FPS))

    def frames_for(self, ticks: int) -> int:
        """Frames of the result during `ticks` frames of speech; of a source that is shown once no more than it has."""
        count = frames_at(ticks, self.rate)
        return min(count, len(self)) if self.loop == "once" else count


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
        image: the finished picture, (H, W, 3) uint8 RGB, or (H, W, 4) with its opacity.
        heard: samples of a live stream that had to arrive before this frame could be made.
        voice: 0..1, how far the lips follow the speech; 0 is at rest.
        matte: (512, 512) uint8 opacity of the rendered crop, where the source has some.
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
    matte: np.ndarray | None = None
