"""What every backend gives: a loaded network with named inputs and outputs, and errors that name file and mismatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from core.errors import PackError

Shape = tuple[int | str | None, ...]  # an int per fixed axis, a name or None per free axis
Names = Mapping[str, Shape] | tuple[str, ...]
Self = TypeVar("Self", bound="CheckedSession")


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of a model's input or output."""

    name: str
    shape: Shape
    dtype: np.dtype

    def accepts(self, array: np.ndarray) -> bool:
        """Whether `array` has this dtype and a shape that agrees on every fixed axis."""
        return array.dtype == self.dtype and agree(self.shape, array.shape)


class Session(Protocol):
    """A loaded network. `inputs` and `outputs` are in the order of the model file."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once; all outputs by name, in the order of `outputs`.

        Raises PackError when a name, shape or dtype is not what the network expects: the pack does not fit.
        """


class CheckedSession:
    """The part of a Session that knows the names and shapes.

    Attributes:
        path: its file.
        most_rows: greatest length of a free first axis of the inputs; None: any.
    """

    most_rows: int | None = None

    def __init__(self, path: Path, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]):
        self.path, self.inputs, self.outputs = path, inputs, outputs

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """See Session."""
        raise NotImplementedError

    def require(self: Self, inputs: Names = (), outputs: Names = ()) -> Self:
        """Return self if it has these inputs and outputs, with these shapes where a mapping gives them.

        Raises PackError naming what is missing or different.
        """
        for kind, wanted, found in (("inputs", inputs, self.inputs), ("outputs", outputs, self.outputs)):
            if not set(wanted) <= set(found):
                raise PackError(
                    f"{self.path}: expected {kind} {', '.join(wanted)}, found {', '.join(found)}; not the right model"
                )
            for name, shape in wanted.items() if isinstance(wanted, Mapping) else ():
                if not agree(shape, found[name].shape):
                    wrong = f"'{name}' should be {_text(shape)}, is {_text(found[name].shape)}"
                    raise PackError(f"{self.path}: {wrong}; not the right model")
        return self

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Raise PackError when these are not the inputs that the network takes."""
        if set(inputs) != set(self.inputs):
            raise PackError(f"{self.path}: expected inputs {sorted(self.inputs)}, found {sorted(inputs)}")
        for name, array in inputs.items():
            want = self.inputs[name]
            if not want.accepts(array):
                raise PackError(
                    f"{self.path}: input '{name}' expected {want.dtype} {list(want.shape)}, "
                    f"found {array.dtype} {list(array.shape)}"
                )


def agree(a: Shape, b: Shape) -> bool:
    """Whether two shapes can be the same: as many axes, and no axis fixed to two lengths."""
    fixed = (isinstance(x, int) and isinstance(y, int) and x != y for x, y in zip(a, b))
    return len(a) == len(b) and not any(fixed)


def _text(shape: Shape) -> str:
    return f"({', '.join(str(side) if isinstance(side, int) else 'any' for side in shape)})"
