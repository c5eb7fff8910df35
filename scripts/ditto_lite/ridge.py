"""Linear audio-to-lips map: principal components of the speech features over +-CONTEXT frames, ridge regression."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

WIDTH = 384  # encoder columns of a feature row; the next one is the log energy
QUIET = -7.0  # log energy below this is silence
COMPONENTS = 200
CONTEXT = 5
STRENGTH = 3000.0  # 1000 and 10000 are 0.01 of correlation worse on people left out


@dataclass
class Projection:
    """z = [(encoder - mean) @ basis, max(energy, QUIET) + 3]; basis (384, k)."""

    mean: np.ndarray
    basis: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, 385) -> (n, k + 1) float32."""
        encoder = (features[:, :WIDTH] - self.mean) @ self.basis
        return np.concatenate([encoder, self.energy(features)], axis=1).astype(np.float32)

    @staticmethod
    def energy(features: np.ndarray) -> np.ndarray:
        """(n, 1) log energy, shifted and bounded."""
        return np.maximum(features[:, WIDTH:], QUIET) + 3


@dataclass
class Linear:
    """y = context(z) @ weights + offset for projected features z; weights (d, m)."""

    weights: np.ndarray
    offset: np.ndarray

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """(n, k) -> (n, m)."""
        return with_context(z) @ self.weights + self.offset


class Moments:
    """Sums over rows of x with a 1 behind it, from which ridge regressions follow; those of groups can be added."""

    def __init__(self, inputs: int, outputs: int):
        self.xx, self.xy = np.zeros((inputs + 1, inputs + 1)), np.zeros((inputs + 1, outputs))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take in rows x (n, inputs) and y (n, outputs)."""
        x = np.concatenate([x, np.ones((len(x), 1), x.dtype)], axis=1)
        self.xx += x.T @ x
        self.xy += x.T @ y


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


def solve(groups: Iterable[Moments], strength: float = STRENGTH) -> Linear:
    """Ridge regression on all rows of some groups; the offset is not held back."""
    groups = list(groups)
    xx, xy = sum(group.xx for group in groups), sum(group.xy for group in groups)
    held = np.full(len(xx), strength)
    held[-1] = 0
    solved = np.linalg.solve(xx + np.diag(held), xy)
    return Linear(solved[:-1].astype(np.float32), solved[-1].astype(np.float32))
