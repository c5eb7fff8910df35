"""Train the motion diffusion network. From this folder:

    accelerate launch train.py --experiment_name NAME --data_list_json LIST --data_preload --data_preload_pkl PKL \
        --use_sc --use_last_frame --use_last_frame_loss --use_emo --use_eye_open --use_eye_ball
    accelerate launch train.py ... --resume          # go on after an interruption
    accelerate launch train.py ... --small           # a network for a CPU

Exit status: 0 done, 2 bad input, 1 internal failure, 130 interrupted (the state is saved).
"""

from __future__ import annotations

import logging
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, without installing the project

from core.cli.extras import needs

needs("train", "torch", "tyro")

import tyro

from core.errors import DittoError
from MotionDiT.options import TrainOptions, check

LOG = logging.getLogger("ditto.train")


def parse(arguments: list[str] | None = None) -> TrainOptions:
    """Options from the command line; a wrong one ends the program with status 2."""
    return tyro.cli(TrainOptions, args=arguments, description=__doc__)


def train(options: TrainOptions) -> None:
    """One run from its options. Raises DittoError, or Interrupted."""
    from MotionDiT.runtime import make_runtime
    from MotionDiT.trainer import Trainer, open_data

    runtime = make_runtime(options)
    data = open_data(options, runtime)
    trainer = Trainer(options, data, runtime, say)
    resumed = options.resume and trainer.folder.state.is_file()
    runtime.barrier()
    if runtime.main:
        trainer.folder.open(options)
        announce(trainer)
    runtime.barrier()
    runtime.open()
    if resumed:
        trainer.resume()
    try:
        with stopped_by_signals(trainer):
            trainer.run()
    except Exception as error:
        if not isinstance(error, DittoError):
            write_error(options.run_folder, runtime.rank)
        raise
    runtime.close()


@contextmanager
def stopped_by_signals(trainer) -> Iterator[None]:
    """Ctrl-C and SIGTERM let the trainer finish its step and save."""
    before = {
        number: signal.signal(number, lambda *_: setattr(trainer, "stop", True))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def announce(trainer) -> None:
    """Say what is about to happen, and how much room it takes."""
    options, weights = trainer.options, sum(p.numel() for p in trainer.network.parameters())
    kept = min(options.epochs, options.epochs // options.save_ckpt_freq + 5)
    kept = min(kept, options.max_ckpts) if options.max_ckpts else kept
    held = f", {len(trainer.data.validation)} kept out for validation" if trainer.data.validation else ""
    steps = f"{trainer.loader.steps} steps per epoch"
    say(f"{len(trainer.data.train)} windows{held}; {steps}; {weights / 1e6:.1f} million weights")
    say(f"run folder {options.run_folder}: about {kept} checkpoints, {(kept + 5) * weights * 4e-9:.1f} GB at the end")
    if options.use_cond_end:
        LOG.warning("--use_cond_end has no effect in training")


def say(line: str) -> None:
    """A line for the user."""
    print(line, flush=True)


def write_error(folder: Path, rank: int) -> None:
    """Append time and traceback of the current exception to a file below error/."""
    now = time.strftime("%Y_%m_%d_%H_%M_%S")
    path = folder / "error" / f"{now}_rank{rank}_error.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{now}\n{traceback.format_exc()}\n")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("MotionDiT").setLevel(logging.INFO)
    try:
        options = parse(arguments)
        check(options)
        from MotionDiT.trainer import Interrupted
    except DittoError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    try:
        train(options)
    except Interrupted:
        print("interrupted; the state is saved, go on with --resume", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        return 130
    except DittoError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        print(f"error: {type(error).__name__}: {error} (details in {options.run_folder / 'error'})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
