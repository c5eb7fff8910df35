"""Write example/trainset_example/data_info.json for the videos in example/trainset_example/fps25_mp4."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.cli.program import Parser, run_program
from core.errors import InputError
from prepare_data.data_info import SOURCE, example_data_info
from prepare_data.files import write_json

FOLDER = Path(__file__).resolve().parent / "trainset_example"


def main(root: Path = FOLDER, argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    Parser(description=__doc__).parse([] if argv is None else argv)
    return run_program(lambda: write(root))


def write(root: Path) -> None:
    """Find the videos and write the file. Raises InputError when there are none."""
    videos = root / "fps25_mp4"
    if not videos.is_dir():
        raise InputError(f"{videos} is not there; run python example/make_trainset_example.py first")
    info = example_data_info(root, [path.name for path in videos.iterdir()])
    if not info[SOURCE]:
        raise InputError(f"{videos}: no .mp4 files")
    write_json(root / "data_info.json", info)
    print(f"saved: {root / 'data_info.json'}")


if __name__ == "__main__":
    sys.exit(main(argv=sys.argv[1:]))
