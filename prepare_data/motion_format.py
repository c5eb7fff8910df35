"""Motion files: the raw outputs of a motion extractor <-> 328 columns (spec training.md 2.3)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.motion import KP_DIM, MOTION_DIM, SLICES

KEYS = ("pitch", "yaw", "roll", "t", "exp", "scale", "kp")  # in the order of the pickle
COLUMNS = MOTION_DIM + KP_DIM


def to_rows(frames: Sequence[Mapping[str, np.ndarray]], with_kp: bool = True) -> np.ndarray:
    """n dicts of (1, k) arrays -> (n, 328) float32 (265 without keypoints): scale - 1, pitch, yaw, roll, t, exp, kp."""
    names = (*SLICES, "kp") if with_kp else tuple(SLICES)
    rows = np.concatenate([np.stack([np.ravel(frame[name]) for frame in frames]) for name in names], axis=1)
    rows = rows.astype(np.float32)
    rows[:, SLICES["scale"]] -= 1
    return rows


def to_frames(rows: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The inverse of `to_rows`; with 265 columns the dicts have no `kp`. Raises InputError for fewer columns."""
    if rows.ndim != 2 or rows.shape[1] < MOTION_DIM:
        raise InputError(f"motion has the shape {list(rows.shape)}; it needs n x {MOTION_DIM} columns or more")
    parts = {name: rows[:, part].astype(np.float32) for name, part in SLICES.items()}
    parts["scale"] = parts["scale"] + np.float32(1)
    if rows.shape[1] >= COLUMNS:
        parts["kp"] = rows[:, MOTION_DIM:COLUMNS].astype(np.float32)
    return [{name: parts[name][i : i + 1] for name in KEYS if name in parts} for i in range(len(rows))]


def write_pickle(path: Path, rows: np.ndarray) -> None:
    """Write (n, 328) rows as the pickle of dicts, with the real scale."""
    with open(path, "wb") as file:
        pickle.dump(to_frames(rows), file)
