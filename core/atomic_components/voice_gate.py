"""Voice activity from the energy of the sound: is anyone speaking in this video frame? (users.md: mouths in silence)"""

from __future__ import annotations

import numpy as np

from core.motion import SAMPLES_PER_FRAME

LOUDEST_FLOOR, QUIETEST_FLOOR = -35.0, -70.0  # dBFS, bounds of the estimate of the background
FLOOR_RISE = 0.1  # dB per frame by which the background may grow; it falls at once
OPEN_ABOVE, CLOSE_BELOW = 10.0, 6.0  # dB above the background: the gate opens, and starts to close
OPEN_LEVEL, CLOSE_LEVEL = -50.0, -55.0  # dBFS, the same for a quiet background
HANG = 5  # frames that the gate stays open after the last sound, so that closures inside words are no pauses
REACH = 2  # frames by which the mouth may move before the sound
FADE_IN, FADE_OUT = 2, 6  # frames from closed to open and back


class VoiceGate:
    """An energy gate with hysteresis and a background that it learns."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)  # samples of an unfinished frame
        self._floor: float | None = None
        self._open = False
        self._quiet = 0  # frames since the last sound
        self._states: list[bool] = []  # of the frames not yet taken
        self._alpha = 0.0

    def push(self, samples: np.ndarray) -> None:
        """(m,) float32 more samples at 16 kHz."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
        self._rest = samples[whole:].copy()
        for frame in samples[:whole].reshape(-1, SAMPLES_PER_FRAME):
            self._states.append(self._hear(10 * np.log10(float(np.mean(np.square(frame))) + 1e-12)))

    def take(self, frames: int) -> np.ndarray:
        """(frames,) float32 in 0..1: how far the lips follow the speech in the next frames; 0 is at rest."""
        out = np.empty(frames, np.float32)
        for i in range(frames):
            speaks = any(self._states[i : i + REACH + 1]) if i < len(self._states) else self._open
            step = 1 / FADE_IN if speaks else -1 / FADE_OUT
            self._alpha = min(1.0, max(0.0, self._alpha + step))
            out[i] = self._alpha
        del self._states[:frames]
        return out

    def _hear(self, level: float) -> bool:
        """Whether the gate is open after a frame of `level` dBFS."""
        floor = level if self._floor is None else min(level, self._floor + FLOOR_RISE)
        self._floor = floor = min(LOUDEST_FLOOR, max(QUIETEST_FLOOR, floor))
        if level > max(floor + OPEN_ABOVE, OPEN_LEVEL):
            self._open, self._quiet = True, 0
        elif level < max(floor + CLOSE_BELOW, CLOSE_LEVEL):
            self._quiet += 1
            self._open = self._open and self._quiet <= HANG
        else:
            self._quiet = 0
        return self._open
