"""Loss terms of the parts of the motion vector, and their adaptive weights (spec training.md 9.3, 13)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError
from core.motion import SLICES

REGULAR = 1e-4  # weight of the R terms
MEMORY = 0.99  # share of a part's running mean that a step keeps
FARTHEST = 30.0  # most that an adaptive weight leaves 1, as a factor


@dataclass(frozen=True)
class Part:
    """Columns start .. end - 1 of the motion and their weight."""

    name: str
    start: int
    end: int
    weight: float = 1.0


def default_parts(dim: int, first: int = 0) -> tuple[Part, ...]:
    """The six parts of a motion vector, as far as columns first .. first + dim - 1 of it hold them."""
    found = []
    for name, where in SLICES.items():
        start, end = max(where.start - first, 0), min(where.stop - first, dim)
        if start < end:
            found.append(Part(name, start, end))
    return tuple(found)


def parse_parts(entries: Any, dim: int) -> tuple[Part, ...]:
    """{name: [start, end, weight]}; start <= 0 is the first column, end <= 0 the last. Raises InputError."""
    if not isinstance(entries, Mapping) or not entries:
        raise InputError("part weights are a JSON object: name -> [start, end, weight], with at least one name")
    parts = []
    for name, values in entries.items():
        numbers = isinstance(values, Sequence) and len(values) == 3 and all(isinstance(v, (int, float)) for v in values)
        if not numbers:
            raise InputError(f"part '{name}' is {values!r}; it must be [start, end, weight]")
        start, end = max(int(values[0]), 0), int(values[1]) if values[1] > 0 else dim
        if not start < end <= dim:
            raise InputError(f"part '{name}' has columns {start} .. {end}; motion has {dim}")
        parts.append(Part(name, start, end, float(values[2])))
    return tuple(parts)


def read_parts(path: str | Path, dim: int) -> tuple[Part, ...]:
    """Parts from a JSON file. Raises InputError with its name."""
    try:
        return parse_parts(json.loads(Path(path).read_text(encoding="utf-8")), dim)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class MotionLoss(nn.Module):
    """Squared errors of motion, velocity and acceleration per part; on request of the first frame and of its size.

    Args:
        parts: what to weigh. dim: M, motion columns. dim_ws: (M,) weight of each column, or None.
        last_frame: add the L terms. regular: add the R terms.
        relative: (start, end) of columns that are relative to the condition frame; their L target is 0.

    Attributes:
        names: of the K terms, parts in order, in each P, V, A, L, R.
    """

    columns: Tensor
    sizes: Tensor

    def __init__(
        self,
        parts: Sequence[Part],
        dim: int,
        dim_ws: np.ndarray | None = None,
        last_frame: bool = False,
        regular: bool = False,
        relative: tuple[int, ...] = (),
    ):
        super().__init__()
        self.parts, self.relative = tuple(parts), relative
        self.kinds = "PVA" + "L" * last_frame + "R" * regular
        self.names = tuple(f"{part.name}_{kind}" for part in parts for kind in self.kinds)
        weight = np.ones(dim) if dim_ws is None else np.asarray(dim_ws, np.float64)
        if weight.shape != (dim,):
            raise InputError(f"--dim_ws_npy has shape {weight.shape}; motion has {dim} columns")
        columns, sizes = np.zeros((dim, len(parts))), np.zeros((dim, len(parts)))
        for i, part in enumerate(parts):
            where = slice(part.start, part.end)
            columns[where, i] = part.weight * weight[where] / (part.end - part.start)
            sizes[where, i] = (part.name != "scale") * REGULAR / (part.end - part.start)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.float32), persistent=False)
        self.register_buffer("sizes", torch.tensor(sizes, dtype=torch.float32), persistent=False)

    def forward(self, found: Tensor, wanted: Tensor, cond_frame: Tensor) -> Tensor:
        """(B, S, M), (B, S, M), (B, M) -> (parts, kinds) terms, each a mean over batch, time and columns."""
        off = found.float() - wanted
        rate = off[:, 1:] - off[:, :-1]
        gain = rate[:, 1:] - rate[:, :-1]
        terms = [x.square().mean(dim=(0, 1)) @ self.columns for x in (off, rate, gain)]
        if "L" in self.kinds:
            target = cond_frame
            if self.relative:
                target = cond_frame.clone()
                target[:, slice(*self.relative)] = 0
            terms.append((found[:, 0].float() - target).square().mean(dim=0) @ self.columns)
        if "R" in self.kinds:
            terms.append(found.float().abs().mean(dim=(0, 1)) @ self.sizes)
        return torch.stack(terms, dim=1)


class AdaptiveWeights:
    """Weighs every part by the inverse of a running mean of its own P term.

    The paper names adaptive weights for parts that converge at different speed and gives no rule. This one is the
    stationary point of learned uncertainty weighting (Kendall, Gal, Cipolla, 1705.07115: minimise L / s + log s, hence
    s = L), which also makes the gradient that of the mean of log L (IMTL-L, Liu et al., ICLR 2021). Weights are taken
    relative to the geometric mean of the parts and kept within a factor of FARTHEST.

    Attributes:
        means: (parts,) running means, on the device of the run; `count` is the number of updates.
    """

    def __init__(self, parts: int, device: torch.device | str = "cpu"):
        self.means, self.count = torch.zeros(parts, device=device), 0

    def weights(self) -> Tensor:
        """(parts,), from the steps before this one; ones at the first."""
        if not self.count:
            return torch.ones_like(self.means)
        level = torch.log(self.means / (1 - MEMORY**self.count) + 1e-12)
        return torch.exp(level.mean() - level).clamp(1 / FARTHEST, FARTHEST)

    def update(self, first_terms: Tensor) -> None:
        """Take in the P terms (parts,) of a step, averaged over the processes."""
        self.means = torch.lerp(first_terms.detach(), self.means, MEMORY)
        self.count += 1
