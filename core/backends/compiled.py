"""torch.compile with a way back: a function that cannot be compiled here runs as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from core.backends.out_of_memory import OutOfMemory

LOG = logging.getLogger(__name__)
BACKEND = "inductor"


class CompiledCall:
    """`function`, compiled at the first call with each shape.

    The compiler's own use of CUDA graphs is off: `cuda_graph.GraphedCall` records the compiled function.
    """

    def __init__(self, function: Callable[..., Any], name: str, backend: str = BACKEND):
        """name: for messages."""
        self._plain, self._name = function, name
        self._compiled = torch.compile(function, backend=backend, dynamic=False)

    def __call__(self, *inputs: Any) -> Any:
        """function(*inputs)."""
        if self._compiled is None:
            return self._plain(*inputs)
        try:
            return self._compiled(*inputs)
        except OutOfMemory:
            raise
        except Exception as error:  # compilers and their drivers raise nearly anything
            result = self._plain(*inputs)  # a mistake in the call itself shows here
            lines = str(error).strip().splitlines() or [type(error).__name__]
            LOG.warning("%s runs without torch.compile (%s)", self._name, " ".join(lines[:2])[:200])
            self._compiled = None
            return result


def compiled(function: Callable[..., Any], name: str, wanted: bool, backend: str = BACKEND) -> Callable[..., Any]:
    """`function` as a CompiledCall if that is wanted, else itself."""
    return CompiledCall(function, name, backend) if wanted else function
