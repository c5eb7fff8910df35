"""Controls, fades and blink times: what a run decides before its first frame (spec pipeline.md 13.5, 13.6)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from core.errors import InputError

Controls = Mapping[str, Any]
BLINK_GAP = (60, 100)  # frames, both included


def build_controls(
    n: int, fade_in: int = -1, fade_out: int = -1, ctrl_info: Mapping[int, Controls] | Sequence[Controls] | None = None
) -> dict[int, dict[str, Any]]:
    """Controls of each output frame, with the fades written in; the caller's own are not changed.

    Args:
        n: output frames.
        fade_in, fade_out: frames at the start and the end whose motion is faded; 0 or less is none.
        ctrl_info: frame number -> controls, or a list of controls.
    """
    listed = enumerate(ctrl_info or ()) if not isinstance(ctrl_info, Mapping) else ctrl_info.items()
    controls = {int(frame): dict(values or {}) for frame, values in listed}
    for i in range(fade_in):
        controls.setdefault(i, {})["fade_alpha"] = i / fade_in
    if fade_out > 0:
        for i in range(max(n - fade_out - 1, 0), n):
            controls.setdefault(i, {})["fade_alpha"] = (n - 1 - i) / fade_out
    return controls


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
