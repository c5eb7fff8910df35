"""What the command lines of DiffTalk share: flags with hints, one-line errors, exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from core.cli.program import Parser, run_program, set_up_logging

__all__ = ["Parser", "run", "split_settings"]


def split_settings(argv: list[str]) -> tuple[list[str], list[str]]:
    """Arguments and `key=value` words, which argparse would take only when they stand together."""
    words = [word for word in argv if not word.startswith("-") and "." in word.partition("=")[0] and "=" in word]
    return [word for word in argv if word not in words], words


def run(program: Callable[[], None], verbose: bool = False, quiet: bool = False) -> int:
    """Run `program`; returns the exit code (0 done, 1 internal failure, 2 bad input, 130 interrupted)."""
    set_up_logging(verbose, quiet)
    try:
        return run_program(program)
    except Exception as error:  # the last resort: a fault of ours, shown with --verbose
        logging.getLogger(__name__).info("where it happened:", exc_info=True)
        print(f"error: internal failure: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
