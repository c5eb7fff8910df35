"""What is said of a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def nearest(name: object, known: Collection[str]) -> str:
    """The known name that is most like another one, or "" when none is."""
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1)), "")


def unknown_name(what: str, name: object, known: Collection[str]) -> str:
    """`unknown WHAT 'NAME'`, with the nearest of the known names or, where none is near, all of them."""
    near = nearest(name, known)
    hint = f"did you mean '{near}'?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown {what} '{name}'; {hint}"
