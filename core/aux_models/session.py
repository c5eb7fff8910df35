"""How the face and speech adapters run a network whose tensor names differ from file to file."""

from __future__ import annotations

import numpy as np

from core.backends.session import Session
from core.errors import PackError


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
