"""Make a person in a video (or portrait) say a recording, with a trained DiffTalk model.

    python DiffTalk/inference.py --source_video me.mp4 --audio hello.wav --output me_hello.mp4 --checkpoint model.ckpt

No trained denoiser was ever published: train one first (docs/difftalk.md). The person needs no fine-tuning.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

from DiffTalk.cli import Parser, run


def build_parser() -> Parser:
    """All flags."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--source_video", required=True, help="video of the person, or a portrait picture")
    parser.add_argument("--audio", required=True, help="speech that drives the mouth")
    parser.add_argument("--output", default="output/difftalk.mp4", help="video to write [output/difftalk.mp4]")
    models = parser.add_argument_group("model")
    models.add_argument("--checkpoint", help="trained model [checkpoints/DiffTalk/model.ckpt]")
    models.add_argument("--first_stage", help="other weights for the autoencoder [those in the checkpoint]")
    models.add_argument("--config", help="YAML with a `sample` section")
    models.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto [auto]")
    models.add_argument("--precision", default="fp32", help="fp32, fp16 or bf16; half precision needs a GPU [fp32]")
    models.add_argument("--no_ema", action="store_true", help="the live weights instead of the averaged ones")
    how = parser.add_argument_group("sampling")
    how.add_argument("--steps", type=int, help="sampling steps per frame: 10 or 20 are fast, 200 the reference's [200]")
    how.add_argument(
        "--reference", default="first", help="picture of the person: first, progressive, or a picture file [first]"
    )
    how.add_argument("--one_start", action="store_true", help="one start noise for all frames: less flicker")
    how.add_argument("--no_paste", action="store_true", help="keep the whole generated square, not only the mouth")
    how.add_argument("--logits", help=".npy with speech logits (rows, 29) of the extractor used in training")
    how.add_argument("--max_frames", type=int, default=0, help="stop after so many frames [0: whole recording]")
    how.add_argument("--max_size", type=int, default=1280, help="longest side of the source [1280]")
    how.add_argument("--crf", type=int, default=18, help="video quality, 0 (best) to 51 [18]")
    how.add_argument("--no_tag", action="store_true", help="leave out the note that the video is synthetic")
    talk = parser.add_argument_group("messages").add_mutually_exclusive_group()
    talk.add_argument("--verbose", action="store_true", help="say what is being done")
    talk.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def program(args: argparse.Namespace) -> None:
    """Make the video and say how long it took. Raises DittoError."""
    from DiffTalk.extras import LIBRARIES, require

    require(*LIBRARIES)
    from tqdm import tqdm

    from DiffTalk.animation import AnimateOptions, animate, check_options
    from DiffTalk.pipeline import get_difftalk_inference

    options = check_options(
        AnimateOptions(
            reference=args.reference,
            steps=args.steps,
            one_start=args.one_start,
            paste=not args.no_paste,
            max_size=args.max_size,
            max_frames=args.max_frames,
            logits=args.logits,
            crf=args.crf,
            tag=not args.no_tag,
        )
    )
    model = get_difftalk_inference(
        args.config, args.checkpoint, args.first_stage, args.device, not args.no_ema, args.precision
    )
    with tqdm(unit="frame", disable=True if args.quiet else None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = animate(model, args.source_video, args.audio, args.output, options, progress)
    if not args.quiet:
        each = made.sampling / made.frames
        print(f"{made.output}: {made.frames} frames, {made.steps} steps and {each:.2f} s per frame")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = build_parser().parse(argv)
    return run(lambda: program(args), args.verbose, args.quiet)


if __name__ == "__main__":
    sys.exit(main())
