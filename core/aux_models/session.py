"""What the face and speech adapters need of a loaded network, whichever backend runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from core.errors import PackError


class Spec(Protocol):
    """Shape of an input or output: an int per fixed axis, something else per free axis."""

    shape: tuple[int | str | None, ...]


class Session(Protocol):
    """A loaded network. `inputs` and `outputs` are in the order of the model file."""

    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once; all outputs by name, in the order of `outputs`."""


def run_single(session: Session, value: np.ndarray) -> dict[str, np.ndarray]:
    """Run a network that has one input, whatever its name. Raises PackError when it has more."""
    if len(session.inputs) != 1:
        raise PackError(f"{label(session)}: expected one input, found {', '.join(session.inputs)}; not the right model")
    return session.run(**{next(iter(session.inputs)): value})


def shaped(session: Session, value: np.ndarray, width: int, rows: int | None = None) -> np.ndarray:
    """An output as a table (rows, width), without batch axis. Raises PackError when its size does not allow that."""
    if value.size % width or rows not in (None, value.size // width):
        raise PackError(
            f"{label(session)}: expected an output of {'n' if rows is None else rows} x {width} values, "
            f"found {list(value.shape)}; not the right model"
        )
    return value.reshape(-1, width)


def label(session: Session) -> str:
    """How error texts call this network: its file, if it says which."""
    return str(getattr(session, "path", "a model of the pack"))
