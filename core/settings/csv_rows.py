"""Rows of a CSV file whose heading names the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection


def csv_rows(text: str, needed: Collection[str] = ()) -> list[dict[str, str]]:
    """The cells of each row that hold something, by the name of their column and without spaces around them.

    Raises ValueError when a row has another number of cells than the heading, or the heading lacks a column that is
    `needed`; csv.Error for broken quotation marks.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    heading = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in needed if name not in heading]
    if missing:
        raise ValueError(f"the heading lacks {', '.join(missing)}")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise ValueError("a row has another number of cells than the heading")
        rows.append({name.strip(): cell.strip() for name, cell in row.items() if cell.strip()})
    return rows
