"""What the command lines of the preparation share: parsing with tyro, one-line errors, exit codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar

from core.cli.program import run_program, set_up_logging
from core.errors import InputError
from prepare_data.options import FeatureOptions, RunOptions
from prepare_data.run import Summary, run_steps

try:
    import tyro
except ImportError:  # said by `parse`
    tyro = None

Options = TypeVar("Options")
FAILED_CLIPS = 2  # exit code when clips failed


@dataclass(frozen=True)
class StepOptions:
    """What every step's script takes."""

    # data_info.json with the lists of files
    input_data_json: Annotated[str, tyro.conf.arg(aliases=["-i"])]
    # another name of --data_root, as in the reference; goes first
    ditto_pytorch_path: str = ""
    # what decides how the features come out
    features: FeatureOptions = field(default_factory=FeatureOptions)
    # how the work is done
    run: RunOptions = field(default_factory=RunOptions)


def parse(options: type[Options], argv: Sequence[str] | None, description: str) -> Options:
    """Options from the command line; wrong ones end the program with exit code 2. Raises InputError without tyro."""
    if tyro is None:
        raise InputError("this program needs tyro: pip install -e '.[train]'")
    return tyro.cli(options, args=argv, description=description, config=(tyro.conf.OmitArgPrefixes,))


def run_step_script(steps: Sequence[str], options: StepOptions, model_file: str = "") -> int:
    """Run steps as the options say and print the report; returns the exit code.

    `model_file`: a file of the reference's command line; the pack is the one that it belongs to.
    """
    features = options.features
    root = options.ditto_pytorch_path or (str(Path(model_file).resolve().parents[1]) if model_file else "")
    if root:
        features = replace(features, data_root=root)
    summary = run_steps(options.input_data_json, steps, features, options.run)
    return report(summary, options.run)


def report(summary: Summary, run: RunOptions) -> int:
    """Print the summary; the exit code is 0 when all clips are usable, or failures are tolerated and some are."""
    problems = len(summary.failed)
    if not run.quiet or problems:
        print("\n".join(summary.lines()))
    tolerated = run.tolerate_failures and problems < len(summary.results)
    return FAILED_CLIPS if problems and not tolerated else 0


def guarded(main: Callable[[], int]) -> int:
    """Run a program; returns its exit code (2 for what the user can mend, 130 interrupted)."""
    set_up_logging(verbose=True)
    return run_program(main, "interrupted; the same command goes on where it stopped")
