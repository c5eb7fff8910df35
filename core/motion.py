"""The motion vector: layout, head angles, rotation, keypoint transform, smoothing (spec pipeline.md 1, 6, 7, 10.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

FPS = 25
SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
SEQ_FRAMES = 80  # of a window of the published motion model

NUM_KEYPOINTS = 21
KP_DIM = 3 * NUM_KEYPOINTS
NUM_BINS = 66
DEGREES_PER_BIN = 3.0
BIN_OFFSET = 97.5

SCALE = slice(0, 1)  # stored as scale - 1
PITCH = slice(1, 1 + NUM_BINS)
YAW = slice(PITCH.stop, PITCH.stop + NUM_BINS)
ROLL = slice(YAW.stop, YAW.stop + NUM_BINS)
TRANSLATION = slice(ROLL.stop, ROLL.stop + 3)
EXP = slice(TRANSLATION.stop, TRANSLATION.stop + KP_DIM)
MOTION_DIM = EXP.stop
POSE = slice(0, EXP.start)  # everything except the expression
SLICES = {"scale": SCALE, "pitch": PITCH, "yaw": YAW, "roll": ROLL, "t": TRANSLATION, "exp": EXP}

_BINS = np.arange(NUM_BINS, dtype=np.float32)


@dataclass
class Motion:
    """n frames of motion.

    Attributes:
        data: (n, 265) float32: scale - 1 | pitch 66 | yaw 66 | roll 66 | t 3 | exp 63.
            Angles are logits over bins of 3 degrees.
        kp: (n, 63) float32 canonical keypoints of a source, or None for generated motion.
    """

    data: np.ndarray
    kp: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or self.data.shape[1] != MOTION_DIM:
            raise ValueError(f"motion must be (n, {MOTION_DIM}), got {self.data.shape}")
        if self.kp is not None and self.kp.shape != (len(self.data), KP_DIM):
            raise ValueError(f"motion keypoints must be ({len(self.data)}, {KP_DIM}), got {self.kp.shape}")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | slice) -> Motion:
        """One frame (n = 1) or a range of frames, as views of this motion."""
        if not isinstance(key, slice):
            index = range(len(self.data))[key]
            key = slice(index, index + 1)
        return Motion(self.data[key], None if self.kp is None else self.kp[key])

    @property
    def scale(self) -> np.ndarray:
        """(n, 1) real scale, a copy."""
        return self.data[:, SCALE] + 1

    @property
    def pitch(self) -> np.ndarray:
        """(n, 66) logits, a view."""
        return self.data[:, PITCH]

    @property
    def yaw(self) -> np.ndarray:
        """(n, 66) logits, a view."""
        return self.data[:, YAW]

    @property
    def roll(self) -> np.ndarray:
        """(n, 66) logits, a view."""
        return self.data[:, ROLL]

    @property
    def t(self) -> np.ndarray:
        """(n, 3) translation, a view."""
        return self.data[:, TRANSLATION]

    @property
    def exp(self) -> np.ndarray:
        """(n, 63) expression offsets, a view; number 3 * keypoint + axis."""
        return self.data[:, EXP]

    def smoothed(self, window: int) -> Motion:
        """All columns, logits and keypoints included, averaged over a centred window (spec section 7)."""
        if window <= 1 or len(self) < 2:
            return self
        kp = None if self.kp is None else smooth(self.kp, window)
        return replace(self, data=smooth(self.data, window), kp=kp)


@dataclass(frozen=True)
class MotionSpace:
    """What the keypoints of a model pack mean. The defaults are those of the official models."""

    lip: tuple[int, ...] = (6, 12, 14, 17, 19, 20)  # keypoints that follow the speech
    eye: tuple[int, ...] = (11, 13, 15, 16, 18)  # keypoints of lids and gaze
    exp_canonical: bool = False  # expression is added before the rotation, not after it
    gaze: bool = True  # the gaze correction of spec 13.8 applies to keypoints 11 and 15
    lid_pairs: tuple[tuple[int, int], ...] = ()  # where not: lids of each eye; their x and z say where it looks
    added: tuple[int, ...] = ()  # keypoints of brows and lids that take the generated expression on top of the source's
    turn_gain: tuple[float, ...] = (1.0, 1.0, 1.0)  # degrees of pitch, yaw, roll to ask for, per degree that is seen
    closed: bool = False  # expression 0 closes the lips, which is how they rest; otherwise they rest as in the source

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> MotionSpace:
        """From the `motion_space` section of a pack; what it leaves out is as in the official models."""
        return cls(**{key: _tuples(value) for key, value in section.items()})

    def added_mask(self) -> np.ndarray:
        """(63,) float32, 1 on the keypoints of `added`."""
        return keypoint_mask(self.added)

    def lip_mask(self) -> np.ndarray:
        """(63,) float32, 1 on the lip keypoints."""
        return keypoint_mask(self.lip)

    def eye_mask(self) -> np.ndarray:
        """(63,) float32, 1 on the eye keypoints."""
        return keypoint_mask(self.eye)


def _tuples(value: Any) -> Any:
    """Lists of a YAML file, also nested ones, as tuples."""
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def keypoint_mask(keypoints: tuple[int, ...]) -> np.ndarray:
    """(63,) float32, 1 on the three numbers of each listed keypoint."""
    mask = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    mask[list(keypoints)] = 1
    return mask.reshape(-1)


def num_frames(samples: int) -> int:
    """Video frames needed to cover `samples` of 16 kHz audio."""
    return -(-samples // SAMPLES_PER_FRAME)


def mirror_index(i: int, n: int) -> int:
    """Index into n frames played forwards and backwards in turn: 0 1 .. n-1 n-1 .. 1 0 0 1 .."""
    turn, index = divmod(i, n)
    return index if turn % 2 == 0 else n - 1 - index


def loop_index(i: int, n: int, mode: str) -> int:
    """Index into n frames at output frame i >= 0.

    "mirror" plays back and forth, "loop" begins anew, "hold" and "once" stay at the last frame.
    """
    if mode == "mirror":
        return mirror_index(i, n)
    return i % n if mode == "loop" else min(i, n - 1)


def frame_rate(fps: float) -> Fraction:
    """The exact rate that is meant: 29.97 is 30000 / 1001, as are the other rates of NTSC."""
    whole = round(fps * 1.001)
    if fps != round(fps) and abs(whole / 1.001 - fps) < 0.005:
        return Fraction(whole * 1000, 1001)
    return Fraction(fps).limit_denominator(1000)


def frames_at(n: int, rate: Fraction) -> int:
    """Frames at `rate` per second that last as long as n frames of speech, the last one begun."""
    return math.ceil(n * rate / FPS)


def bins_to_degrees(logits: np.ndarray) -> np.ndarray:
    """(n, 66) logits -> (n,) degrees in -97.5..97.5: the expected bin (spec 6.2)."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return DEGREES_PER_BIN * (weights @ _BINS) / weights.sum(axis=1) - BIN_OFFSET


def degrees_to_bins(degrees: np.ndarray) -> np.ndarray:
    """(n,) degrees -> (n, 66) float32 logits that convert back to them (within 1e-4 for |degrees| <= 80)."""
    centre = (np.atleast_1d(np.asarray(degrees, np.float32)) + BIN_OFFSET) / DEGREES_PER_BIN
    return -((_BINS - centre[:, None]) ** 2) / np.float32(4.5)


def rotation_matrix(pitch: np.ndarray, yaw: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Degrees, each (n,) -> (n, 3, 3) float32 `(Rz Ry Rx)^T`; points are row vectors, p' = p R (spec 6.3)."""
    x, y, z = (np.radians(np.atleast_1d(np.asarray(a, np.float64))) for a in (pitch, yaw, roll))
    (cx, cy, cz), (sx, sy, sz) = (np.cos(x), np.cos(y), np.cos(z)), (np.sin(x), np.sin(y), np.sin(z))
    out = np.empty((len(x), 3, 3), np.float32)
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = cy * cz, cy * sz, -sy
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy
    out[:, 2, 0], out[:, 2, 1], out[:, 2, 2] = cx * sy * cz + sx * sz, cx * sy * sz - sx * cz, cx * cy
    return out


def place_keypoints(
    kp: np.ndarray, exp: np.ndarray, rotation: np.ndarray, scale: np.ndarray, t: np.ndarray, exp_canonical: bool
) -> np.ndarray:
    """Keypoints in the crop: kp, exp (n, 63); rotation (n, 3, 3); scale (n, 1); t (n, 3) -> (n, 21, 3) float32."""
    kp, exp = (a.reshape(-1, NUM_KEYPOINTS, 3) for a in (kp, exp))
    points = (kp + exp) @ rotation if exp_canonical else kp @ rotation + exp
    points = points * scale[:, :, None]
    points[:, :, :2] += t[:, None, :2]  # t_z is ignored (spec 6.4)
    return points


def transform_keypoints(motion: Motion, kp: np.ndarray | None = None, exp_canonical: bool = False) -> np.ndarray:
    """Keypoints posed by a motion (spec 6.4).

    Args:
        motion: n frames.
        kp: canonical keypoints, (n, 63) or (1, 63); those of `motion` when None.
        exp_canonical: `scale * ((kp + exp) R) + t` instead of `scale * (kp R + exp) + t`.

    Returns:
        (n, 21, 3) float32.
    """
    kp = motion.kp if kp is None else kp
    if kp is None:
        raise ValueError("this motion has no canonical keypoints; pass kp")
    rotation = rotation_matrix(*(bins_to_degrees(a) for a in (motion.pitch, motion.yaw, motion.roll)))
    return place_keypoints(kp, motion.exp, rotation, motion.scale, motion.t, exp_canonical)


def smooth(x: np.ndarray, window: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Centred moving average over frames i - window // 2 .. i + window // 2, with fewer frames at the ends.

    Args:
        x: (n, d) float32, not changed.
        window: length in frames; an even one acts as the next odd one; 1 or less returns a plain copy.
        start, stop: only these frames are averaged; the others are copied. `stop` None is n.

    Returns:
        (n, d) float32.
    """
    out = x.copy()
    stop = len(x) if stop is None else stop
    half = window // 2
    if window <= 1 or stop <= start:
        return out
    low = max(0, start - half)
    total = np.zeros((min(len(x), stop + half) - low + 1, x.shape[1]), np.float64)
    np.cumsum(x[low : low + len(total) - 1], axis=0, out=total[1:])
    frames = np.arange(start, stop)
    first = np.maximum(frames - half, 0)
    last = np.minimum(frames + half + 1, len(x))
    out[start:stop] = (total[last - low] - total[first - low]) / (last - first)[:, None]
    return out
