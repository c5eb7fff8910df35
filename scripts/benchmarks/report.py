"""The report of a benchmark: machine and versions, tables, as JSON and as Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError, OutputError
from core.utils.whole_file import whole_file

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "av")
Rows = dict[str, float]


def environment() -> dict[str, Any]:
    """Hardware and versions, as far as they can be found out."""
    found = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "GPU": gpu_name() or "none",
        "Python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def gpu_name() -> str:
    """The first GPU that PyTorch can use, with its memory and CUDA version, or nothing."""
    try:
        import torch
    except ImportError:
        return ""
    if not torch.cuda.is_available():
        return ""
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Both reports; tables of the new one take the place of old ones of the same title."""
    return {**new, "tables": {**old.get("tables", {}), **new["tables"]}}


def markdown(report: Mapping[str, Any], notes: Iterable[str] = ()) -> str:
    """The report as a page."""
    machine = ", ".join(f"{name} {value}" for name, value in report["environment"].items())
    lines = ["# Performance", "", f"Made by `python scripts/benchmark.py` on: {machine}.", ""]
    for note in notes:
        lines += [note, ""]
    for title, rows in report["tables"].items():
        lines += [f"## {title}", "", "| figure | value |", "|---|---|"]
        lines += [f"| {name} | {number(value)} |" for name, value in rows.items()]
        lines.append("")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, whole numbers from 100 on."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of the values lie; 0 when there are none."""
    ranked = sorted(values)
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)] if ranked else 0.0


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all. Raises OutputError."""
    try:
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def read(path: Path) -> dict[str, Any]:
    """A report that was written before; an empty one when there is none. Raises InputError for another file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a report of this program ({error}); give another --json") from error
    if not isinstance(found, dict) or not isinstance(found.get("tables"), dict):
        raise InputError(f"{path}: not a report of this program; give another --json")
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
