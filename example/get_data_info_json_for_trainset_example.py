"""Write example/trainset_example/data_info.json for the videos in example/trainset_example/fps25_mp4."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.errors import DittoError, InputError
from prepare_data.data_info import SOURCE, example_data_info
from prepare_data.files import write_json

FOLDER = Path(__file__).resolve().parent / "trainset_example"


def main(root: Path = FOLDER) -> int:
    """Entry point; returns the exit code."""
    videos = root / "fps25_mp4"
    try:
        if not videos.is_dir():
            raise InputError(f"{videos} is not there; run python example/make_trainset_example.py first")
        info = example_data_info(root, [path.name for path in videos.iterdir()])
        if not info[SOURCE]:
            raise InputError(f"{videos}: no .mp4 files")
        write_json(root / "data_info.json", info)
    except DittoError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"saved: {root / 'data_info.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
