"""Turn talking-head videos into the data set that DiffTalk trains on.

    python DiffTalk/prepare_hdtf.py --videos clips/ --out data
    python DiffTalk/prepare_hdtf.py --videos a.mp4 b.mp4 --out data --size 512 --test 1

Every video shows one person talking, with sound. The result: data_train.txt, data_test.txt and HDTF/ with images,
landmarks, audio_smooth and data.txt. Layout and meaning: docs/difftalk.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

from core.errors import InputError
from core.media.video_files import videos_in
from DiffTalk.cli import Parser, run


def build_parser() -> Parser:
    """All flags."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--videos", nargs="+", type=Path, required=True, help="videos, or folders of videos")
    parser.add_argument("--out", type=Path, default=Path("data"), help="new folder for the data set [data]")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels [256]")
    parser.add_argument("--max_frames", type=int, default=1499, help="frames taken of each video [1499, one minute]")
    parser.add_argument("--test", type=int, default=-1, help="videos kept for testing, the last ones [a tenth]")
    parser.add_argument("--skip_missing", action="store_true", help="leave out frames without a usable face")
    more = "folder with speech logits of another extractor: NAME.npy for NAME.mp4, (rows, 29), 50 per second"
    parser.add_argument("--logits", type=Path, help=more)
    return parser


def find_videos(paths: list[Path]) -> list[Path]:
    """Files as they are, folders replaced by the videos in them. Raises InputError."""
    return [video for path in paths for video in (videos_in(path) if path.is_dir() else [path])]


def program(args: argparse.Namespace) -> None:
    """Prepare the data set, with a line for each video. Raises DittoError."""
    from DiffTalk.extras import require

    require("torch", "PIL")
    from DiffTalk.preparation import PrepareOptions, prepare

    if args.size < 32 or args.max_frames < 2:
        raise InputError("--size must be at least 32 and --max_frames at least 2")
    options = PrepareOptions(args.size, args.max_frames, args.skip_missing, args.test)
    prepare(find_videos(args.videos), args.out, options, args.logits, progress=lambda line: print(line, flush=True))
    print(f"{args.out}: ready for DiffTalk/train.py")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = build_parser().parse(argv)
    return run(lambda: program(args))


if __name__ == "__main__":
    sys.exit(main())
