"""Train a small autoencoder on a prepared data set, for sizes that the published first stage does not have.

python DiffTalk/train_first_stage.py --base DiffTalk/configs/tiny.yaml --out output/difftalk/first_stage.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

from core.errors import InputError
from DiffTalk.cli import Parser, run, split_settings


def build_parser() -> Parser:
    """All flags."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("-b", "--base", nargs="+", required=True, help="YAML files with settings")
    parser.usage = "%(prog)s [options] [section.name=value ...]"
    parser.add_argument("--out", type=Path, required=True, help=".ckpt or .safetensors to write")
    parser.add_argument("-s", "--seed", type=int, default=23)
    return parser


def program(args: argparse.Namespace) -> None:
    """Train and write the autoencoder. Raises DittoError."""
    from DiffTalk.extras import LIBRARIES, require

    require(*LIBRARIES)
    from DiffTalk.checkpoint import named_first_stage, save_checkpoint
    from DiffTalk.config import load_config
    from DiffTalk.first_stage_training import load_frames, train_first_stage

    if args.out.suffix not in (".ckpt", ".safetensors"):
        raise InputError(f"{args.out}: name the file .ckpt or .safetensors")
    config = load_config(args.base, args.settings)
    frames = load_frames(config)
    network = train_first_stage(config, frames, lambda line: print(line, flush=True), args.seed)
    save_checkpoint(args.out, named_first_stage(network), config.model)
    print(args.out)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given, words = split_settings(sys.argv[1:] if argv is None else argv)
    args = build_parser().parse(given)
    args.settings = words
    return run(lambda: program(args))


if __name__ == "__main__":
    sys.exit(main())
