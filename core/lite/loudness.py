"""A slow gain that brings speech to rms 0.1 and leaves silence alone (spec/lite.md section 9)."""

from __future__ import annotations

import numpy as np

TARGET = 0.1
MAX_GAIN = 10.0  # 20 dB, up or down
GATE = 10**-2.5  # -50 dBFS: frames below are silence, whatever the recording's level
RANGE = 0.01  # a frame counts as speech within 20 dB of the recent loudest one
MEMORY = 250  # speech frames (10 s) that the level averages over
PEAK_DECAY = 0.5**0.004  # per frame of 40 ms: the recent peak halves in 10 s


class Loudness:
    """Running speech level and the gain that follows from it, frame by frame and without look-ahead.

    `level` is the rms of speech to start from, as `speech_level` measures it; None starts at gain 1 and adapts quickly.
    """

    def __init__(self, level: float | None = None):
        self._power = (TARGET if level is None else level) ** 2
        self._count = 1 if level is None else MEMORY // 2
        self._peak = 0.0 if level is None else self._power
        self._gain = self._target()

    @property
    def level(self) -> float:
        """Current estimate of the rms of speech, before the gain."""
        return float(np.sqrt(self._power))

    def update(self, powers: np.ndarray) -> np.ndarray:
        """Mean squares (n,) of consecutive frames to the gain (n + 1,) at the n + 1 borders of those frames."""
        gains = np.empty(len(powers) + 1, np.float32)
        gains[0] = self._gain
        for i, power in enumerate(powers):
            self._peak = max(self._peak * PEAK_DECAY, power)
            if power > max(GATE**2, RANGE * self._peak):
                self._count = min(self._count + 1, MEMORY)
                self._power += (power - self._power) / self._count
            gains[i + 1] = self._gain = self._target()
        return gains

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, samples) float32, consecutive, to the same with the gain, linear between the frames' borders."""
        gains = self.update(np.mean(np.square(frames), axis=1, dtype=np.float64))
        ramp = np.linspace(0, 1, frames.shape[1], endpoint=False, dtype=np.float32)
        return frames * (gains[:-1, None] + np.diff(gains)[:, None] * ramp)

    def _target(self) -> float:
        return float(np.clip(TARGET / np.sqrt(max(self._power, 1e-12)), 1 / MAX_GAIN, MAX_GAIN))


def speech_level(audio: np.ndarray, frame: int = 640) -> float | None:
    """Rms of the speech frames of `audio` (L,); None if no frame is louder than the gate."""
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    powers = np.mean(np.square(frames), axis=1, dtype=np.float64)
    speech = powers[powers > max(GATE**2, RANGE * powers.max(initial=0))]
    return float(np.sqrt(speech.mean())) if len(speech) else None
