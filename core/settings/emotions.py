"""Emotions by name, and mixtures of them, as rows of numbers (spec pipeline.md 8.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.errors import InputError

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "contempt")
_WEIGHT = 8.0
_FULL = 1 + 1e-6  # greatest sum of the parts of a mixture, with room for rounding


def parse_emotion(emo: Any) -> np.ndarray:
    """Any accepted form of `emo` -> (m, 8) float32 rows (spec 8.2).

    One label (0..7, or a name such as "happy"), several mixed in one row ("happy,surprise" or a list), a mixture by
    parts ("happy:0.7,surprise:0.3" or a dictionary; what is missing to 1 is neutral), a list of lists (one row each),
    or a float array (m, 8) that is used as it is. Raises InputError for anything else.
    """
    if isinstance(emo, str):
        emo = _parts(emo) if ":" in emo else emo.split(",")
    if isinstance(emo, Mapping):
        return _weighted_row(emo)[None]
    if isinstance(emo, np.ndarray):
        if emo.ndim == 2 and emo.shape[1] == len(EMOTIONS) and emo.dtype.kind == "f" and len(emo):
            return emo.astype(np.float32)
        emo = emo.tolist()
    if not isinstance(emo, (list, tuple)):
        emo = [emo]
    nested = [isinstance(e, (list, tuple)) for e in emo]
    rows = list(emo) if emo and all(nested) else [emo]
    return np.stack([emotion_row(row) for row in rows])


def _parts(text: str) -> dict[str, float]:
    """ "happy:0.7,surprise:0.3" -> names and numbers."""
    parts: dict[str, float] = {}
    for piece in text.split(","):
        name, colon, share = piece.partition(":")
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not colon or name.strip() in parts or not np.isfinite(value):
            raise InputError(f"emo is {text!r}; a mixture is written like happy:0.7,surprise:0.3")
        parts[name.strip()] = value
    return parts


def _weighted_row(parts: Mapping[Any, Any]) -> np.ndarray:
    """(8,) float32 for label -> part of the whole."""
    numbers = [isinstance(part, (int, float)) and not isinstance(part, bool) for part in parts.values()]
    if not parts or not all(numbers) or not all(part >= 0 for part in parts.values()) or sum(parts.values()) > _FULL:
        raise InputError(f"emo is {dict(parts)!r}; the parts of a mixture are 0 .. 1 and add up to 1 at most")
    neutral = emotion_row(["neutral"])
    row = neutral.copy()
    for label, part in parts.items():
        row += np.float32(part) * (emotion_row([label]) - neutral)
    return row


def emotion_row(labels: Sequence[Any]) -> np.ndarray:
    """Labels, 0..7 or names -> (8,) float32: softmax of 8 on each of them and 0 elsewhere. Raises InputError."""
    logits = np.zeros(len(EMOTIONS))
    if not labels:
        raise InputError(f"emo is empty; give {_accepted()}")
    logits[[_label(value) for value in labels]] = _WEIGHT
    weights = np.exp(logits)
    return (weights / weights.sum()).astype(np.float32)


def _label(value: Any) -> int:
    if isinstance(value, str):
        name = value.strip().lower()
        if name in EMOTIONS:
            return EMOTIONS.index(name)
        if name.isdecimal():
            value = int(name)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= value < len(EMOTIONS):
        return int(value)
    raise InputError(f"emo value {value!r} is not an emotion; give {_accepted()}")


def _accepted() -> str:
    return "0..7 or " + ", ".join(f"{name} ({i})" for i, name in enumerate(EMOTIONS))
