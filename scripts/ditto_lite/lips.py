"""Speech features to lip components: a ridge regression, and small motion networks that correct it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lip_dit import Clip, MeanMotion, in_windows, train_network
from ridge import COMPONENTS, CONTEXT, Linear, Moments, Projection, fit_projection, solve, with_context
from tracks import Talk

from core.lite.motion_space import LIP_SLOTS

EXPRESSIONS = 10  # principal components of the lip keypoints
FOLDS = 8
SHARE = 0.5  # of the networks in the lips; the rest is the regression, and together they are better than either
SEEDS = 2  # networks that are averaged
EVENT_SCALE, LEAST_PROBABILITY = 3.0, 1e-3
ENOUGH_R = 0.3  # a component predicted worse than this is damped
MAX_GAIN = 2.5  # a component that is hardly predictable must not become noise
LIP = list(LIP_SLOTS)
Events = Callable[[np.ndarray], np.ndarray]  # features (n, 385) -> probabilities (n, 4)


@dataclass
class LipSpace:
    """Components of the lip keypoints: lips (33,) = mean + (scale * y) @ basis, y of unit variance in speech."""

    mean: np.ndarray
    basis: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, talks: Sequence[Talk]) -> LipSpace:
        """Principal components over all speaking frames."""
        rows = np.concatenate([_lips(talk)[talk.speaking] for talk in talks])
        mean = rows.mean(axis=0)
        basis = np.linalg.svd(rows - mean, full_matrices=False)[2][:EXPRESSIONS]
        return cls(mean, basis, ((rows - mean) @ basis.T).std(axis=0))

    def components(self, talk: Talk) -> np.ndarray:
        """(n, 10) float32 components of a clip."""
        return ((_lips(talk) - self.mean) @ self.basis.T / self.scale).astype(np.float32)

    def exp(self, components: np.ndarray) -> np.ndarray:
        """(n, 10) -> (n, 21, 3) float32 canonical expression."""
        out = np.zeros((len(components), 21, 3), np.float32)
        out[:, LIP] = (components * self.scale @ self.basis + self.mean).reshape(-1, len(LIP), 3)
        return out


@dataclass
class Linears:
    """The ridge regression for any person: `held[i]` was fitted without the people whose `fold` is i."""

    projection: Projection
    whole: Linear
    held: list[Linear]
    fold: dict[str, int]

    def __call__(self, features: np.ndarray, person: str = "") -> np.ndarray:
        """(n, 385) -> (n, 10) components, predicted as for a stranger."""
        linear = self.held[self.fold[person]] if person in self.fold else self.whole
        return linear(self.projection(features))


@dataclass
class Lips:
    """components = (mean of regression and networks - centre) * gain + centre; `gain`, `centre` (10,)."""

    space: LipSpace
    linears: Linears
    nets: list[MeanMotion]
    events: Events
    gain: np.ndarray
    centre: np.ndarray

    def exp(self, features: np.ndarray, live: bool = False) -> np.ndarray:
        """(n, 385) -> (n, 21, 3) absolute canonical expression of natural amplitude, as of a file or of a stream."""

        def answer(window: np.ndarray) -> np.ndarray:
            return mixed(window, self.linears(window), self.events, self.nets)

        return self.space.exp((in_windows(features, answer, live) - self.centre) * self.gain + self.centre)


def fit_lips(talks: Sequence[Talk], events: Events, folder: Path, seed: int) -> Lips:
    """Fit everything. The gain restores each component's spread, measured on people that were left out.

    `folder` gets data sets and runs of the networks.
    """
    space = LipSpace.fit(talks)
    linears = fit_linears(talks, space, seed)
    clips = [
        Clip(linears.fold[talk.person], condition(features, linears(features, talk.person), events), *rest)
        for talk in talks
        for features in (talk.features, talk.live)
        for rest in [(space.components(talk), talk.speaking)]
    ]
    halves = [
        train_network([clip for clip in clips if clip.fold % 2 != half], space.scale, folder / f"half_{half}", seed)
        for half in range(2)
    ]
    made, real = [], []
    for talk in talks:
        net = halves[linears.fold[talk.person] % 2]
        made.append(in_windows(talk.features, _stranger(linears, talk.person, events, net))[talk.speaking])
        real.append(space.components(talk)[talk.speaking])
    made, real = np.concatenate(made), np.concatenate(real)
    gain = np.minimum(real.std(axis=0) / made.std(axis=0), MAX_GAIN)
    gain *= np.clip(correlations(made, real) / ENOUGH_R, 0, 1)
    nets = [train_network(clips, space.scale, folder / f"all_{i}", seed + i) for i in range(SEEDS)]
    return Lips(space, linears, nets, events, gain, made.mean(axis=0))


def _stranger(linears: Linears, person: str, events: Events, net: MeanMotion) -> Callable[[np.ndarray], np.ndarray]:
    """Features of a window (80, 385) -> components, by models that have not seen the person."""
    return lambda window: mixed(window, linears(window, person), events, [net])


def fit_linears(talks: Sequence[Talk], space: LipSpace, seed: int) -> Linears:
    """Ridge regressions on all people, and on all but an eighth of them."""
    projection = fit_projection(np.concatenate([talk.features[talk.speaking] for talk in talks]), COMPONENTS)
    people = np.random.default_rng(seed).permutation(sorted({talk.person for talk in talks}))
    fold = {str(person): i % FOLDS for i, person in enumerate(people)}
    sums = [Moments((2 * CONTEXT + 1) * (COMPONENTS + 1), EXPRESSIONS) for _ in range(FOLDS)]
    for talk in talks:
        rows = with_context(projection(talk.features))[talk.speaking]
        sums[fold[talk.person]].add(rows, space.components(talk)[talk.speaking])
    return Linears(projection, solve(sums), [solve(sums[:i] + sums[i + 1 :]) for i in range(FOLDS)], fold)


def condition(features: np.ndarray, linear: np.ndarray, events: Events) -> np.ndarray:
    """What the network is told, (n, 15): predicted components, logits of the events, energy.

    Few columns that mean the same for everybody: on the features themselves a network learns the voices by heart.
    """
    heard = np.clip(events(features), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    energy = Projection.energy(features)
    return np.concatenate([linear, np.log(heard / (1 - heard)) / EVENT_SCALE, energy], axis=1).astype(np.float32)


def mixed(window: np.ndarray, linear: np.ndarray, events: Events, nets: Sequence[MeanMotion]) -> np.ndarray:
    """Features of a window (80, 385) and the regression's answer -> (80, 10) components before the gain."""
    with torch.no_grad():
        rows = torch.from_numpy(condition(window, linear, events)[None])
        found = torch.stack([net(rows)[0] for net in nets]).mean(dim=0).numpy()
    return (1 - SHARE) * linear + SHARE * found


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of each column."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


def _lips(talk: Talk) -> np.ndarray:
    return talk.exp[:, LIP].reshape(len(talk.exp), -1)
