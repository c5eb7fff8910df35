"""Fit the projection of the speech encoder's 384 numbers to the 29 that DiffTalk hears: principal components.

    python DiffTalk/fit_speech_projection.py RECORDING ... --out DiffTalk/speech_projection.npz

Each component is scaled to a standard deviation of 3, about that of the logits which the reference used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

import numpy as np

from core.errors import InputError, OutputError
from core.lite.speech_encoder import SpeechEncoder
from core.media import read_audio
from core.motion import SAMPLE_RATE
from core.packs.pack import EMBEDDED
from core.utils.whole_file import whole_file
from DiffTalk.cli import Parser, run
from DiffTalk.shapes import LOGITS
from DiffTalk.speech import PROJECTION, encoder_rows

SPREAD = 3.0
SECONDS = 30  # used of each recording


def fit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows (n, 384) -> mean (384,), matrix (384, 29) and the share of the variance that is left."""
    mean = rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(rows - mean, rowvar=False))
    best = np.argsort(values)[::-1][:LOGITS]
    matrix = vectors[:, best] * (SPREAD / np.sqrt(values[best]))
    return mean.astype(np.float32), matrix.astype(np.float32), float(values[best].sum() / values.sum())


def program(args: argparse.Namespace) -> None:
    """Fit to the recordings and write the file. Raises DittoError."""
    encoder = SpeechEncoder(EMBEDDED / "speech_encoder.onnx")
    rows = np.concatenate(
        [encoder_rows(encoder, read_audio(path)[: SECONDS * SAMPLE_RATE]) for path in args.recordings]
    )
    if len(rows) <= rows.shape[1]:
        raise InputError(f"{len(rows)} rows are too few for {rows.shape[1]} numbers each; give more recordings")
    mean, matrix, share = fit(rows)
    try:
        with whole_file(args.out) as part, open(part, "wb") as file:
            np.savez(file, mean=mean, matrix=matrix)
    except OSError as error:
        raise OutputError(f"{args.out}: cannot be written ({error.strerror or error})") from error
    print(f"{args.out}: {len(rows)} rows, {share:.0%} of the variance")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=PROJECTION, help=".npz to write [the one in use]")
    args = parser.parse(argv)
    return run(lambda: program(args))


if __name__ == "__main__":
    sys.exit(main())
