"""Programs that need more than the default installation say so in one line."""

from __future__ import annotations

import importlib
import sys


def needs(extra: str, *packages: str) -> None:
    """End the program with one line and exit code 2 unless all packages can be imported.

    For the top of a program whose own imports need them. `extra` is the one of pyproject.toml that brings them.
    """
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.stderr.write(f"error: this program needs the package {name}: pip install -e '.[{extra}]'\n")
            sys.exit(2)
