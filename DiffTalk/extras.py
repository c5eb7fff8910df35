"""Says in one line what to install when an optional library is missing."""

from __future__ import annotations

import importlib

from core.errors import PackError

LIBRARIES = ("torch", "diffusers", "PIL")
TRAINING = ("accelerate", "tensorboard")


def require(*names: str) -> None:
    """Import every named library. Raises PackError naming the extra when one is missing."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            raise PackError(f"DiffTalk needs the library '{name}': pip install -e '.[difftalk]'") from None
