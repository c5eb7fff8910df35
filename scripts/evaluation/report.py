"""Evaluations as a table, JSON and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.motion import FPS
from core.utils.whole_file import whole_file

from .measure import Evaluation

MEANINGS = {
    "seconds": "length of the video, s",
    "face_found": "part of the frames that show a face",
    "sync_offset": "sound after picture, s; 0 is right",
    "sync_confidence": "agreement of lips and sound above chance; 0.3 and more is good",
    "sync_correlation": "correlation of the lips with those that the sound asks for",
    "rest_opening": "lip opening in pauses, mouth widths; 0 is closed",
    "opening_p95": "wide lip opening, mouth widths; real speech 0.2 to 0.4",
    "opening_correlation": "lip opening against the truth",
    "opening_lag": "frames by which it comes late",
    "opening_best": "correlation at that lag",
    "opening_range_ratio": "range of the opening over the true one; 1 is right",
    "width_correlation": "mouth width against the truth",
    "width_lag": "frames by which it comes late",
    "width_best": "correlation at that lag",
    "width_range_ratio": "range of the width over the true one",
    "closures": "share of b, p, m at which the lips meet",
    "blinks_per_minute": "8 to 30 is natural",
    "jitter": "unsteadiness of the stiff face, percent of the eye distance",
    "head_power_ratio": "head motion over the true one, all bands",
    "sharpness": "fine structure over the source's",
    "colour_drift": "colour difference to the source, CIE 1976",
    "shape_drift": "change of the stiff face, percent of the eye distance",
    "seam": "step across the border of the face crop above the source's own, of 255",
}
_HEAD = "head motion between these frequencies, degrees"


def medians(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Median of each measure over the videos that have it."""
    names = dict.fromkeys(name for evaluation in evaluations for name in evaluation.measures)
    return {name: float(np.median([e.measures[name] for e in evaluations if name in e.measures])) for name in names}


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Measures in rows, one column per title."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    wide = max(len(name) for name in names)
    lines = [" " * wide + "".join(f"{title[:14]:>16}" for title in columns)]
    for name in names:
        cells = "".join(f"{column[name]:16.3f}" if name in column else " " * 15 + "-" for column in columns.values())
        lines.append(f"{name:<{wide}}{cells}   {MEANINGS.get(name, _HEAD)}")
    return "\n".join(lines)


def save_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write nested dictionaries of numbers; those that are not finite become null. Raises OSError."""
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    return float(content) if np.isfinite(content) else None


def save_plot(path: Path, evaluation: Evaluation, title: str) -> None:
    """PNG of the curves: lips (with the truth's), eyes and head over time. Raises OSError."""
    from matplotlib.figure import Figure

    rows = {
        "lip opening": ("truth opening", "opening"),
        "mouth width": ("truth width", "width"),
        "lid opening": ("eyes",),
        "head, degrees": ("pitch", "yaw"),
    }
    figure = Figure(figsize=(11, 8), layout="constrained")
    for axes, (label, names) in zip(figure.subplots(len(rows), 1, sharex=True), rows.items()):
        for name in names:
            if name in evaluation.curves:
                values = evaluation.curves[name]
                axes.plot(np.arange(len(values)) / FPS, values, label=name, linewidth=1)
        axes.set_ylabel(label)
        axes.legend(loc="upper right", fontsize="small")
    axes.set_xlabel("seconds")
    figure.suptitle(title)
    with whole_file(path) as part:
        figure.savefig(part, dpi=90)
