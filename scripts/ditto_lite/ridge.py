"""Linear audio-to-lips map: principal components of the speech features over +-CONTEXT frames, ridge regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDTH = 384  # encoder columns of a feature row; the next one is the log energy
QUIET = -7.0  # log energy below this is silence
COMPONENTS = 200
CONTEXT = 5
STRENGTH = 1000.0


@dataclass
class Projection:
    """z = [(encoder - mean) @ basis, max(energy, QUIET) + 3]; basis (384, k)."""

    mean: np.ndarray
    basis: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, 385) -> (n, k + 1) float32."""
        encoder = (features[:, :WIDTH] - self.mean) @ self.basis
        return np.concatenate([encoder, np.maximum(features[:, WIDTH:], QUIET) + 3], axis=1).astype(np.float32)


def fit_projection(features: np.ndarray, components: int, whiten: float = 0.0) -> Projection:
    """Principal components of feature rows (n, >= 384), the first of unit variance, all of them with `whiten` 1."""
    rows = features[:, :WIDTH].astype(np.float64)
    mean = rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((rows - mean).T))
    values, vectors = values[::-1][:components], vectors[:, ::-1][:, :components]
    scale = np.sqrt(values[0]) * (values / values[0]) ** (whiten / 2)
    return Projection(mean.astype(np.float32), (vectors / scale).astype(np.float32))


def with_context(z: np.ndarray, context: int = CONTEXT) -> np.ndarray:
    """(n, k) -> (n, (2 * context + 1) * k): each row with its neighbours, the ends repeated."""
    padded = np.pad(z, ((context, context), (0, 0)), mode="edge")
    return np.concatenate([padded[i : i + len(z)] for i in range(2 * context + 1)], axis=1)


def fit_ridge(pairs: list[tuple[np.ndarray, np.ndarray]], strength: float = STRENGTH) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, m) and offset (m,) of y ~ x w + b from pairs x (n, d), y (n, m) that are summed one at a time."""
    dims = pairs[0][0].shape[1], pairs[0][1].shape[1]
    xx, xy = np.zeros((dims[0], dims[0])), np.zeros(dims)
    x_sum, y_sum, count = np.zeros(dims[0]), np.zeros(dims[1]), 0
    for x, y in pairs:
        x = x.astype(np.float64)
        xx += x.T @ x
        xy += x.T @ y
        x_sum += x.sum(axis=0)
        y_sum += y.sum(axis=0)
        count += len(x)
    x_mean, y_mean = x_sum / count, y_sum / count
    xx -= count * np.outer(x_mean, x_mean)
    xy -= count * np.outer(x_mean, y_mean)
    weights = np.linalg.solve(xx + strength * np.eye(dims[0]), xy)
    return weights, y_mean - x_mean @ weights
