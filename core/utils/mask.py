"""The feathered mask that lays the rendered face over the frame (spec pipeline.md 14.2, 14.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from core.errors import InputError
from core.settings.options import BlendOptions
from core.utils.face_region import face_region_mask

# mode -> (mask m, alpha a) -> mask. All but replace reach 0 at the border of the crop.
_MODES = {
    "blend": lambda m, a: m,
    "strong": lambda m, a: np.minimum(1, 2 * m),
    "replace": lambda m, a: np.ones_like(m),
    "weak": lambda m, a: 0.5 * m,
    "custom": lambda m, a: a * m,
}
_LEGACY_MODES = _MODES | {
    "strong": lambda m, a: 0.5 + 0.5 * m,
    "custom": lambda m, a: a * m + (1 - a) * (1 - m),
}


def feather_mask(width: int, height: int, ratio_w: float = 0.9, ratio_h: float = 0.9) -> np.ndarray:
    """(height, width) float32: 1 inside, falling linearly to 0 at the border, round at the corners.

    `ratio_w` and `ratio_h` say how much of each side is inside.
    """
    across = _edge_distance(width, int(width * ratio_w))
    down = _edge_distance(height, int(height * ratio_h))
    return (1 - np.minimum(1, np.hypot(across[None, :], down[:, None]))).astype(np.float32)


def _edge_distance(size: int, inner: int) -> np.ndarray:
    """(size,) 0 inside, growing linearly to 1 at both ends."""
    before = (size - inner) // 2
    after = size - inner - before
    return np.concatenate([np.linspace(1, 0, before), np.zeros(inner), np.linspace(0, 1, after)])


def blend_mask(options: BlendOptions, size: int = 512) -> np.ndarray:
    """The (size, size) float32 mask of a blend mode. Raises InputError for an unknown mode or an alpha outside 0..1."""
    modes = _LEGACY_MODES if options.blend_legacy else _MODES
    if options.blend_mode not in modes:
        raise InputError(f"blend_mode '{options.blend_mode}' is unknown; use one of {', '.join(modes)}")
    if not 0 <= options.blend_alpha <= 1:
        raise InputError(f"blend_alpha {options.blend_alpha} is outside 0..1")
    mask = feather_mask(size, size, options.mask_ratio_w, options.mask_ratio_h)
    return np.asarray(modes[options.blend_mode](mask, options.blend_alpha), np.float32)


def region_masks(options: BlendOptions, mesh: np.ndarray | None) -> Callable[[int], np.ndarray]:
    """Source frame -> the mask of the region of its face, as `blend_mask`.

    Args:
        mesh: (n, 478, 2 or more) landmarks in crop pixels.

    Raises InputError for an unknown region or mode, and without landmarks.
    """
    if mesh is None:
        raise InputError(f"region is '{options.region}', but nothing is known of where the face is; use crop")
    if options.blend_legacy:
        raise InputError(f"region is '{options.region}'; blend_legacy knows only the crop")
    mode = "region" if options.blend_mode == "replace" else options.blend_mode
    modes = _MODES | {"region": lambda m, a: (m > 0).astype(np.float32)}
    blend_mask(options)

    @lru_cache(maxsize=2)
    def mask(index: int) -> np.ndarray:
        return np.asarray(modes[mode](face_region_mask(mesh[index], options.region), options.blend_alpha), np.float32)

    return mask
