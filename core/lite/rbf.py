"""Smooth interpolation of scattered displacements with the kernel phi(r) = r (spec lite.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMOOTHING = 0.5


@dataclass(frozen=True)
class Interpolant:
    """A smooth function of the plane: `points` (n, 2), `weights` (n + 1, k) float32, the last row a constant."""

    points: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray, values: np.ndarray, smoothing: float = SMOOTHING) -> Interpolant:
        """Interpolate values (n, k) at points (n, 2) pixels.

        `smoothing` pulls it off exact reproduction, so that points that almost coincide do no harm.
        """
        n = len(points)
        system = np.ones((n + 1, n + 1))
        system[:n, :n] = _distances(points, points)
        system[range(n), range(n)] = -smoothing
        system[n, n] = 0
        weights = np.linalg.solve(system, np.concatenate([values, np.zeros((1, values.shape[1]))]))
        return cls(points, weights.astype(np.float32))

    def __call__(self, queries: np.ndarray) -> np.ndarray:
        """Values (m, k) float32 at positions (m, 2)."""
        return _distances(queries, self.points) @ self.weights[:-1] + self.weights[-1]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    dx = a[:, :1] - b[:, 0]
    dy = a[:, 1:2] - b[:, 1]
    dx *= dx
    dy *= dy
    dx += dy
    return np.sqrt(dx, out=dx)


def cubic_matrix(positions: np.ndarray, n: int) -> np.ndarray:
    """Catmull-Rom interpolation from n samples at 0..n-1 as a matrix.

    Args:
        positions: (m,) where to interpolate; values outside 0..n-1 take the end sample.

    Returns:
        (m, n) float32 whose rows sum to 1.
    """
    x = np.clip(positions, 0, n - 1)
    cell = np.minimum(x.astype(np.int64), n - 2)
    f = x - cell
    taps = np.stack([((2 - f) * f - 1) * f, (3 * f - 5) * f * f + 2, ((4 - 3 * f) * f + 1) * f, (f - 1) * f * f], 1) / 2
    out = np.zeros((len(x), n), np.float32)
    rows = np.arange(len(x))
    for k in range(4):
        np.add.at(out, (rows, np.clip(cell + k - 1, 0, n - 1)), taps[:, k])
    return out
