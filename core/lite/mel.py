"""Whisper's log-mel spectrogram in numpy (spec/lite.md section 9)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SAMPLE_RATE, WINDOW, HOP, BANDS = 16000, 400, 160, 80
CONTEXT = WINDOW // 2


def slaney_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Hz to mel on the Slaney scale: linear up to 1 kHz, logarithmic above."""
    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1000) / 1000) * 27 / np.log(6.4))


def slaney_hertz(mel: np.ndarray | float) -> np.ndarray:
    """Inverse of `slaney_mel`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27))


@lru_cache(maxsize=1)
def mel_filters() -> np.ndarray:
    """(80, 201) float32 triangles from 0 to 8000 Hz, each of unit area (Slaney's normalisation)."""
    edges = slaney_hertz(np.linspace(0, slaney_mel(SAMPLE_RATE / 2), BANDS + 2))
    bins = np.arange(WINDOW // 2 + 1) * SAMPLE_RATE / WINDOW
    slopes = (bins - edges[:, None]) / np.diff(edges, append=np.inf)[:, None]
    triangles = np.maximum(0, np.minimum(slopes[:-2], 1 - slopes[1:-1]))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def log10_mel(samples: np.ndarray) -> np.ndarray:
    """log10 of the mel powers (floor 1e-10) of every whole window in `samples`, before Whisper's clamp.

    samples (L,) float32 at 16 kHz, L >= 400; the result is (80, (L - 400) // 160 + 1) float32. Column i is centred at
    sample 160 i + 200, so the caller supplies 200 samples of context on either side.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
    spectrum = np.fft.rfft(frames * hann, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return np.log10(np.maximum(mel_filters() @ power.T, 1e-10))


def whisper_scale(log_mel: np.ndarray, maximum: float) -> np.ndarray:
    """Whisper's clamp to 8 decades below `maximum`, then (x + 4) / 4."""
    return (np.maximum(log_mel, np.float32(maximum - 8)) + np.float32(4)) / np.float32(4)


def whisper_mel(audio: np.ndarray) -> np.ndarray:
    """Whisper's own input for a whole recording: (L,) float32 with L > 200 to (80, L // 160) float32.

    The edges are mirrored and the clamp uses the maximum of the recording, as in Whisper. The streaming encoder works
    with `log10_mel` and a running maximum instead.
    """
    log_mel = log10_mel(np.pad(np.asarray(audio, np.float32), CONTEXT, mode="reflect"))[:, : len(audio) // HOP]
    return whisper_scale(log_mel, float(log_mel.max()))
