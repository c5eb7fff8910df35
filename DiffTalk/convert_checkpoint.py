"""Convert weights between the original layout (.ckpt) and .safetensors, under the original names, either way.

python DiffTalk/convert_checkpoint.py model.ckpt model.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

from core.errors import InputError
from DiffTalk.cli import Parser, run


def program(args: argparse.Namespace) -> None:
    """Convert and say what it was. Raises DittoError."""
    from DiffTalk.extras import require

    require("torch", "diffusers")
    from DiffTalk.checkpoint import open_checkpoint, save_checkpoint

    found = open_checkpoint(args.source)
    if args.target.exists() and args.target.samefile(args.source):
        raise InputError(f"{args.target}: the output would overwrite the input; choose another name")
    save_checkpoint(args.target, found.tensors, found.sizes, found.step, found.audio_features)
    print(f"{args.target}: {found.kind}, {len(found.tensors)} tensors")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("source", type=Path, help="file of weights")
    parser.add_argument("target", type=Path, help="file to write: .ckpt or .safetensors")
    args = parser.parse(argv)
    return run(lambda: program(args))


if __name__ == "__main__":
    sys.exit(main())
