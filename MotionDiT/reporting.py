"""What a run says: averages of an epoch, loss.log and loss.png (spec training.md 10.2, 10.3)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

LOG = logging.getLogger(__name__)
LINE = re.compile(r"^Epoch: (\d+), Global_Steps: (\d+), \|")
ENTRY = re.compile(r" ([^|:]+): (\S+) \|")


class Meter:
    """Averages over the steps of an epoch. `sums` (K,) float64 and `count` are all it holds."""

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.sums, self.count = np.zeros(len(self.names)), 0

    def add(self, rows: np.ndarray) -> None:
        """Take in the values of some steps, (n, K), one step after the other."""
        for row in rows:
            self.sums += row
            self.count += 1

    def averages(self) -> dict[str, float]:
        """Name -> mean."""
        return dict(zip(self.names, (self.sums / max(self.count, 1)).tolist()))


def loss_line(epoch: int, steps: int, averages: Mapping[str, float]) -> str:
    """The line of an epoch in loss.log."""
    entries = "".join(f" {name}: {value:.6f} |" for name, value in averages.items())
    return f"Epoch: {epoch}, Global_Steps: {steps}, |{entries}"


def read_log(path: Path) -> list[tuple[int, int, dict[str, float]]]:
    """Epoch, steps and averages of every whole line; [] when there is no file."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        head = LINE.match(line)
        if head:
            values = {name: float(value) for name, value in ENTRY.findall(line[head.end() :])}
            rows.append((int(head[1]), int(head[2]), values))
    return rows


def cut_log(path: Path, last_epoch: int) -> None:
    """Drop the lines of epochs after `last_epoch`, which a resumed run is going to repeat."""
    kept = [loss_line(*row) for row in read_log(path) if row[0] <= last_epoch]
    if path.is_file():
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def draw_losses(log: Path, picture: Path) -> bool:
    """Draw the curves of loss.log; False when there is nothing to draw or matplotlib is missing."""
    rows = read_log(log)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        LOG.warning("no loss.png: matplotlib is missing (pip install -e '.[train]')")
        return False
    if not rows:
        return False
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    epochs = [row[0] for row in rows]
    for name in rows[-1][2]:
        whole = name.endswith("total_loss")
        if not whole and (not name.endswith("_P") or name.startswith("val_")):
            continue
        values = [row[2].get(name, np.nan) for row in rows]
        axes[0 if whole else 1].plot(epochs, values, label=name, marker="." if len(rows) < 30 else "")
    for axis, title in zip(axes, ("sum of all terms", "squared error by part")):
        axis.set(title=title, xlabel="epoch", yscale="log")
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    temporary = picture.with_name(f".{picture.name}.tmp")
    figure.savefig(temporary, format="png", dpi=110)
    temporary.replace(picture)
    return True
