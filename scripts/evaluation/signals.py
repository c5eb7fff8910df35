"""Measures on curves: agreement, rest, closures, blinks, head spectrum, jitter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import welch

from core.motion import FPS

MAX_LAG = 12  # frames
BANDS = ((0.1, 0.5), (0.5, 1.5), (1.5, 4.0), (4.0, 12.0))  # Hz
SHUT = 0.05  # lip opening over mouth width that counts as closed
BLINK_DEPTH = 0.6  # of the usual lid opening
BLINK_FRAMES = (1, 12)  # shortest and longest blink
QUIET_DB = 35.0  # below the loud frames of a recording
QUIET_RUN, QUIET_EDGE = 10, 4  # frames of a pause that counts, and what is left out at its ends


@dataclass(frozen=True)
class Agreement:
    """How a made curve follows the true one.

    Attributes:
        correlation: without shift. lag: frames at which it is greatest, positive when the made one comes late.
        best: correlation there. range_ratio: of the 5-95 percentile ranges, made over truth.
    """

    correlation: float
    lag: float
    best: float
    range_ratio: float


def agreement(made: np.ndarray, truth: np.ndarray) -> Agreement:
    """Compare two curves (n,) and (m,) from their first frames on."""
    n = min(len(made), len(truth))
    made, truth = made[:n], truth[:n]
    lag, best = best_lag(made, truth)
    return Agreement(correlation(made, truth), lag, best, spread(made) / max(spread(truth), 1e-9))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; 0 for a curve that stands still."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 1e-12 else 0.0


def spread(curve: np.ndarray) -> float:
    """Distance between the 5th and 95th percentile."""
    low, high = np.percentile(curve, (5, 95))
    return float(high - low)


def best_lag(late: np.ndarray, early: np.ndarray, max_lag: int = MAX_LAG) -> tuple[float, float]:
    """(frames by which `late` follows `early`, correlation there); a parabola gives parts of a frame."""
    lags, values = lag_curve(late, early, max_lag)
    top = int(np.argmax(values))
    shift = 0.0
    if 0 < top < len(values) - 1:
        before, at, after = values[top - 1 : top + 2]
        shift = 0.5 * (before - after) / min(before - 2 * at + after, -1e-9)
    return float(lags[top] + shift), float(values[top])


def lag_curve(late: np.ndarray, early: np.ndarray, max_lag: int = MAX_LAG) -> tuple[np.ndarray, np.ndarray]:
    """Lags -max_lag .. max_lag in frames and the correlation at each."""
    n = min(len(late), len(early))
    max_lag = min(max_lag, max(n // 3, 1))
    lags = np.arange(-max_lag, max_lag + 1)
    values = [correlation(late[max(k, 0) : n + min(k, 0)], early[max(-k, 0) : n - max(k, 0)]) for k in lags]
    return lags, np.array(values)


def pauses(rms: np.ndarray) -> np.ndarray:
    """(n,) bool: frames well inside a pause. rms: (n,) of each frame's samples."""
    level = 20 * np.log10(rms + 1e-6)
    quiet = level < np.percentile(level, 95) - QUIET_DB
    inside = np.zeros(len(rms), bool)
    for start, end in runs(quiet):
        if end - start >= QUIET_RUN:
            inside[start + QUIET_EDGE : end - QUIET_EDGE] = True
    return inside


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def closures(opening: np.ndarray, spans: Sequence[tuple[float, float]], reach: int = 1) -> float:
    """Share of the spans (start, end in seconds), b p m say, in which the lips meet, give or take `reach` frames."""
    met = []
    for start, end in spans:
        first, last = max(int(start * FPS) - reach, 0), int(np.ceil(end * FPS)) + reach
        if first < len(opening):
            met.append(opening[first:last].min() < SHUT)
    return float(np.mean(met)) if met else float("nan")


def blinks_per_minute(eye_open: np.ndarray) -> float:
    """Blinks in a curve of lid openings (n,)."""
    shut = eye_open < BLINK_DEPTH * np.median(eye_open)
    count = sum(BLINK_FRAMES[0] <= end - start <= BLINK_FRAMES[1] for start, end in runs(shut))
    return 60 * FPS * count / len(eye_open)


def band_power(angles: np.ndarray) -> np.ndarray:
    """(len(BANDS),) root mean square in degrees of head rotation, all axes together, by frequency band."""
    frequency, density = welch(angles, FPS, nperseg=min(len(angles), 128), axis=0)
    step = frequency[1] - frequency[0]
    return np.array([np.sqrt(density[(frequency >= low) & (frequency < high)].sum() * step) for low, high in BANDS])


def jitter(points: np.ndarray, scale: np.ndarray) -> float:
    """Unsteadiness of points (n, k, 2) in percent of the eye distance: white noise of that deviation would look alike.

    From second differences, which smooth motion hardly enters and in which independent noise counts sixfold.
    """
    change = np.diff(points / scale[:, None, None], n=2, axis=0)
    return 100 * float(np.sqrt(np.median(np.mean(change**2, axis=(1, 2))) / 6))
