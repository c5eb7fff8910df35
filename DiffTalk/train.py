"""Train DiffTalk's denoiser and condition encoders.

    accelerate launch --num_processes 8 DiffTalk/train.py --base DiffTalk/configs/talking.yaml --first_stage model.ckpt
    accelerate launch --cpu DiffTalk/train.py --base DiffTalk/configs/tiny.yaml --first_stage first_stage.safetensors
    accelerate launch DiffTalk/train.py --resume logs/2026-01-31T12-00-00_talking

Settings are YAML files (--base), merged from left to right, then words such as train.batch=4. Every setting with its
default is in DiffTalk/config.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout, without installing the project

from core.errors import InputError
from DiffTalk.cli import Parser, run, split_settings

if TYPE_CHECKING:
    from DiffTalk.checkpoint import Checkpoint
    from DiffTalk.config import Config
    from DiffTalk.trainer import Trainer

NEW_NAMES = {"--gpus": "accelerate launch --num_processes N", "--precision": "train.mixed_precision=fp16"}


def build_parser() -> Parser:
    """All flags; the short ones are those of the reference's trainer."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("-b", "--base", nargs="*", default=[], help="YAML files with settings")
    parser.usage = "%(prog)s [options] [section.name=value ...]"
    parser.add_argument("-f1", "--first_stage", help="first stage's weights: the published model.ckpt or your own")
    parser.add_argument("-r", "--resume", help="folder or checkpoint of a run to go on with")
    parser.add_argument("-r2", "--resume2", help="checkpoint whose weights begin a new run")
    parser.add_argument("-n", "--name", help="name of the run [that of the last YAML file]")
    parser.add_argument("-f", "--postfix", default="", help="added to the name")
    parser.add_argument("-s", "--seed", type=int, default=23, help="decides data order, noise and fresh weights [23]")
    parser.add_argument("-l", "--logdir", default="logs", help="folder of all runs [logs]")
    parser.add_argument("-t", "--train", action="store_true", help=argparse.SUPPRESS)  # the reference's word for start
    parser.add_argument("--no-test", action="store_true", help=argparse.SUPPRESS)  # there never was a test
    parser.add_argument("--verbose", action="store_true", help="say what is being done")
    return parser


def check_flags(args: argparse.Namespace) -> None:
    """Raises InputError for flags that do not go together."""
    if args.name and args.resume:
        raise InputError("--name and --resume exclude each other: a resumed run keeps its name")
    if args.resume and (args.base or args.first_stage or args.resume2):
        raise InputError("--resume brings its own settings and weights; leave out --base, --first_stage and --resume2")
    if not args.resume and not args.base:
        raise InputError("give --base DiffTalk/configs/talking.yaml (or tiny.yaml), or --resume RUN")
    if not args.resume and not (args.first_stage or args.resume2):
        raise InputError("give --first_stage: the authors' model.ckpt, or one made with DiffTalk/train_first_stage.py")


def check_groups(config: Config, weights: Checkpoint) -> None:
    """Raises InputError when the weights were made with other normalisations, which no tensor's shape shows."""
    found, wanted = weights.sizes.norm_groups, config.model.norm_groups
    if found != wanted:
        raise InputError(f"{weights.path}: made with model.norm_groups={found}, but the settings say {wanted}")


def prepare_trainer(args: argparse.Namespace) -> Trainer:
    """The trainer, ready to go on. A new run's folder is made last, when all input has proved usable."""
    from accelerate import PartialState

    from DiffTalk import run_folder
    from DiffTalk.checkpoint import open_checkpoint
    from DiffTalk.config import load_config
    from DiffTalk.trainer import Trainer, build_accelerator
    from DiffTalk.training_data import TrainingData

    folder = None
    if args.resume:
        folder, checkpoint, config = run_folder.resume(Path(args.resume), args.settings)
    else:
        weights = open_checkpoint(args.resume2 or args.first_stage)
        config = load_config(args.base, args.settings)
        check_groups(config, weights)
    data, state = TrainingData.load(config, args.seed), PartialState()
    data.check_enough(config.train.batch * config.train.accumulate * state.num_processes)
    if folder is None:
        name = (args.name or Path(args.base[-1]).stem) + args.postfix
        made = run_folder.create(Path(args.logdir), name, config) if state.is_main_process else None
        folder = run_folder.shared(made)
    trainer = Trainer(config, data, folder, build_accelerator(config, folder), args.seed)
    if args.resume:
        trainer.resume(checkpoint)
    elif args.resume2:
        trainer.start_from(weights)
    else:
        trainer.start(weights)
    return trainer


def program(args: argparse.Namespace) -> None:
    """Train, and save when interrupted. Raises DittoError."""
    from DiffTalk.extras import LIBRARIES, TRAINING, require

    check_flags(args)
    require(*LIBRARIES, *TRAINING)
    trainer = prepare_trainer(args)
    report = trainer.accelerator.print
    report(f"{trainer.folder.path}: {len(trainer.items)} frames, from step {trainer.step}")
    try:
        trainer.train(report)
    except KeyboardInterrupt:
        report(f"saved {trainer.save()}")
        raise
    trainer.accelerator.end_training()


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given, words = split_settings(_renamed(argv))
    args = build_parser().parse(given)
    args.settings = words
    return run(lambda: program(args), args.verbose)


def _renamed(argv: list[str] | None) -> list[str]:
    """The arguments; flags of the reference that have another place now are answered with it."""
    given = sys.argv[1:] if argv is None else argv
    for flag, new in NEW_NAMES.items():
        if any(word.split("=")[0] == flag for word in given):
            build_parser().error(f"{flag} is not a flag here; use {new}")
    return given


if __name__ == "__main__":
    sys.exit(main())
