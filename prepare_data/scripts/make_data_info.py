"""Write a data_info.json for folders of videos: python prepare_data/scripts/make_data_info.py OUT_DIR VIDEO_DIR ..."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run from a checkout, without installing the project

from core.media.video_files import videos_in
from prepare_data.cli import guarded, parse, tyro
from prepare_data.data_info import clips_of, data_info_for
from prepare_data.files import write_json


@dataclass(frozen=True)
class Options:
    """Lists of all videos in some folders."""

    # folder for data_info.json and everything that is made from the videos
    out_dir: tyro.conf.Positional[Path]
    # folders that hold the videos, not those below them
    videos: tyro.conf.Positional[tuple[Path, ...]]


def write(options: Options) -> int:
    """Write the file. Raises InputError when there are no videos or two of one name."""
    found = [str(path.resolve()) for folder in options.videos for path in videos_in(folder)]
    target = options.out_dir.resolve() / "data_info.json"
    content = data_info_for(found, target.parent)
    clips_of(content, target)  # two videos of one name would write to the same files
    write_json(target, content)
    print(f"saved: {target} ({len(found)} videos)")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: write(parse(Options, argv, __doc__)))


if __name__ == "__main__":
    sys.exit(main())
