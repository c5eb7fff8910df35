"""Measure talking-head videos: lips, sound, eyes, head, picture.

    python scripts/evaluate.py out.mp4 --source me.jpg
    python scripts/evaluate.py out.mp4 --truth real.mp4 --plots plots/
    python scripts/evaluate.py results_a/ --against results_b/ --json figures.json

Needs the extra `evaluate` (scipy, matplotlib). Every frame is tracked: about 100 frames a second on one core.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # run from a checkout, without installing the project

from core.cli.program import Parser, run_program, set_up_logging
from core.errors import InputError, OutputError
from core.media.video_files import videos_in

if TYPE_CHECKING:
    from scripts.evaluation.measure import Evaluation, Evaluator

LOG = logging.getLogger("evaluate")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("videos", type=Path, help="a video, or a folder of them")
    parser.add_argument("--truth", type=Path, help="real recording of the same speech, or a folder with equal names")
    parser.add_argument("--source", type=Path, help="portrait that was animated, or a folder with equal names")
    parser.add_argument("--against", type=Path, help="second folder or video, for a comparison of the medians")
    parser.add_argument("--closures", type=Path, help="CSV with start,end in seconds of sounds that close the lips")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--plots", type=Path, help="write a PNG of the curves of each video into this folder")
    return parser.parse(argv)


def list_videos(path: Path) -> list[Path]:
    """The video itself, or those of a folder. Raises InputError when there is none."""
    if path.is_dir():
        return videos_in(path)
    if not path.is_file():
        raise InputError(f"{path}: no such video or folder")
    return [path]


def partner(video: Path, given: Path | None) -> Path | None:
    """The file that belongs to a video: the one given, or the one of the same name in a folder."""
    if given is None or not given.is_dir():
        return given
    same = sorted(p for p in given.iterdir() if p.stem == video.stem)
    if not same:
        raise InputError(f"{given}: nothing in this folder is named like {video.name}")
    return same[0]


def read_spans(path: Path | None) -> list[tuple[float, float]]:
    """Rows start,end of a CSV file; a heading is passed over. Raises InputError for anything else."""
    if path is None:
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
        if rows and not rows[0][0].strip().replace(".", "", 1).isdigit():
            rows = rows[1:]
        return [(float(row[0]), float(row[1])) for row in rows]
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a list of start,end seconds ({error})") from None


def evaluate_all(path: Path, args: argparse.Namespace, evaluator: Evaluator) -> dict[str, Evaluation]:
    """Name of each video -> its Evaluation. A video that cannot be measured is named and left out."""
    from tqdm import tqdm

    spans, done = read_spans(args.closures), {}
    for video in tqdm(list_videos(path), unit="video", disable=None, leave=False):
        try:
            truth, source = partner(video, args.truth), partner(video, args.source)
            done[video.name] = evaluator(video, truth, source, spans)
        except InputError as error:
            if not path.is_dir():
                raise
            LOG.warning("left out: %s", error)
    if not done:
        raise InputError(f"{path}: none of the videos could be measured")
    return done


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, write what was asked for. Raises DittoError."""
    try:
        from scripts.evaluation.measure import Evaluator
        from scripts.evaluation.report import medians, table
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; pip install -e '.[evaluate]'") from None
    evaluator = Evaluator()
    groups = {str(path): evaluate_all(path, args, evaluator) for path in (args.videos, args.against) if path}
    if len(groups) == 1 and len(next(iter(groups.values()))) <= 4:
        columns = {name: done.measures for name, done in next(iter(groups.values())).items()}
    else:
        columns = {Path(name).name: medians(list(done.values())) for name, done in groups.items()}
    print(table(columns))
    write_files(groups, args.json, args.plots)


def write_files(groups: dict[str, dict[str, Evaluation]], figures: Path | None, plots: Path | None) -> None:
    """Write the figures of all videos to one file, and a picture of the curves of each. Raises OutputError."""
    from scripts.evaluation.report import medians, save_json, save_plot

    place = figures or plots
    try:
        if figures:
            content = {
                group: {
                    "median": medians(list(done.values())),
                    "videos": {name: evaluation.measures for name, evaluation in done.items()},
                }
                for group, done in groups.items()
            }
            save_json(figures, content)
        place = plots
        for group, done in groups.items() if plots else ():
            for name, evaluation in done.items():
                prefix = f"{Path(group).name}_" if len(groups) > 1 else ""
                save_plot(plots / f"{prefix}{Path(name).stem}.png", evaluation, name)
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror or error})") from error


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    set_up_logging()
    args = parse_args(argv)
    return run_program(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
