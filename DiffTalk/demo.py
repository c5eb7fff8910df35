"""One batch of a prepared data set through a trained model: the reference's demonstration, runnable as it is.

python DiffTalk/demo.py --data data --checkpoint model.ckpt --out video
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

from core.errors import InputError
from DiffTalk.cli import Parser, run


def build_parser() -> Parser:
    """All flags."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", default="data", help="prepared data set [data]")
    parser.add_argument("--checkpoint", help="trained model [checkpoints/DiffTalk/model.ckpt]")
    parser.add_argument("--out", type=Path, default=Path("video"), help="folder for the pictures [video]")
    parser.add_argument("--items", type=int, default=4, help="test frames, evenly spread over the list [4]")
    parser.add_argument("--steps", type=int, default=50, help="sampling steps [50]")
    parser.add_argument("--device", default="auto")
    return parser


def program(args: argparse.Namespace) -> None:
    """Sample the frames and write one PNG each. Raises DittoError."""
    from DiffTalk.extras import LIBRARIES, require

    require(*LIBRARIES)
    from torch.utils.data import default_collate

    from DiffTalk.dataset import SamplingFaces
    from DiffTalk.grids import save_png
    from DiffTalk.pipeline import get_difftalk_inference

    if args.items < 1:
        raise InputError(f"--items {args.items}: give at least 1")
    model = get_difftalk_inference(checkpoint=args.checkpoint, device=args.device)
    faces = SamplingFaces(args.data, "data_test.txt", model.size, model.settings.mask_point)
    number = min(args.items, len(faces))
    chosen = [k * len(faces) // number for k in range(number)]
    batch = default_collate([faces[index] for index in chosen])
    made = model.decode(model.sample(model.encode(batch), batch["inference_mask"], steps=args.steps))
    for index, picture in zip(chosen, made):
        save_png(picture, args.out / f"{faces.stems[index]}.png")
    print(f"{args.out}: {number} pictures")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = build_parser().parse(argv)
    return run(lambda: program(args))


if __name__ == "__main__":
    sys.exit(main())
