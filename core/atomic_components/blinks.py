"""When the eyes blink: at times laid down before the first frame, or at a rate (spec pipeline.md 13.5)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import numpy as np

from core.errors import InputError
from core.motion import FPS

BLINK_GAP = (60, 100)  # frames, both included
_SPREAD = 0.35  # of the logarithm of the time between blinks
_FIRST = (0.2, 0.8)  # of such a time until the first blink


def blink_rows(n: int, rows: int, spacing: int | Sequence[int], rng: random.Random) -> list[int]:
    """For each of n frames the row of the blink array to add, 0 = open.

    Args:
        rows: length of one blink in frames.
        spacing: frames between blinks: 0 or an empty list random, positive fixed, negative none, a list cycled.

    Raises InputError for a spacing that is no whole number.
    """
    out = [0] * n
    gaps = _fixed_gaps(spacing)
    if gaps is not None and gaps[0] < 0 and not isinstance(spacing, (list, tuple)):
        return out
    start, margin, following = _first_gaps(gaps, rng)
    limit = n - max(margin, rows)
    while start < limit:
        out[start : start + rows] = range(rows)
        start += rows + next(following)
    return out


def _fixed_gaps(spacing: int | Sequence[int]) -> list[int] | None:
    """The gaps to cycle through, or None for random ones."""
    gaps = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing]
    if not all(isinstance(gap, (int, np.integer)) and not isinstance(gap, bool) for gap in gaps):
        raise InputError(f"delta_eye_open_n is {spacing!r}; give whole frames between blinks, or a list of them")
    is_random = not gaps or gaps == [0] and not isinstance(spacing, (list, tuple))
    return None if is_random else [int(gap) for gap in gaps]


def _first_gaps(gaps: list[int] | None, rng: random.Random) -> tuple[int, int, Iterator[int]]:
    """Frames before the first blink, frames to leave at the end, and the gaps after each blink."""
    if gaps is None:
        return rng.randint(*BLINK_GAP), rng.randint(*BLINK_GAP), iter(lambda: rng.randint(*BLINK_GAP), None)
    return gaps[0], gaps[-1], itertools.islice(itertools.cycle(gaps), 1, None)


class BlinkClock:
    """Blinks at a rate that may change from frame to frame."""

    def __init__(self, rows: int, rng: random.Random):
        """`rows` frames of a blink, row 0 the open eye."""
        self._rows, self._rng = rows, rng
        self._phase, self._due = 0.0, self._draw() * rng.uniform(*_FIRST)
        self._row = 0

    def __call__(self, rate: float, left: int | None) -> int:
        """Row of the blink for the next frame, at `rate` per minute; `left` frames including it remain, if known.

        No blink begins that would not be over at the end.
        """
        self._phase += rate / (60 * FPS)
        if self._row:
            self._row = (self._row + 1) % self._rows
        elif rate > 0 and self._phase >= self._due and self._rows > 1 and (left is None or left >= self._rows):
            self._phase, self._due, self._row = 0.0, self._draw(), 1
        return self._row

    def _draw(self) -> float:
        """A time between blinks, 1 on average."""
        return self._rng.lognormvariate(-(_SPREAD**2) / 2, _SPREAD)
