"""`preset`: fast, balanced or quality, the tables of the fork's documents (spec pipeline.md 17.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = ("sampling_timesteps", "overlap_v2", "smo_k_d", "smo_k_s", "max_size")
_TABLE = {"fast": (25, 5, 1, 1, 512), "balanced": (50, 10, 3, 13, 1920), "quality": (75, 15, 5, 13, 1920)}
PRESETS = tuple(_TABLE)


def preset_options(name: str, pack: Mapping[str, Any]) -> dict[str, int]:
    """Options of a preset, "" for none, over those of a pack.

    In online mode the pack's overlap stays, since those of the tables would lose frames; and source smoothing stays off
    where the pack has turned it off.
    """
    options = dict(zip(_NAMES, _TABLE[name], strict=True)) if name else {}
    if pack.get("online_mode"):
        options.pop("overlap_v2", None)
    if pack.get("smo_k_s", 13) <= 1:
        options.pop("smo_k_s", None)
    return options
