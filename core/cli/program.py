"""What the command lines share: flags with hints, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from core.errors import DittoError, StageError

LOG = logging.getLogger(__name__)


class Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one line that suggests the nearest right one."""

    def error(self, message: str) -> NoReturn:
        """End the program with one line and exit code 2."""
        self.exit(2, f"error: {message} (see --help)\n")

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        """Parse `argv`; unknown flags end the program with exit code 2."""
        args, unknown = self.parse_known_args(argv)
        if unknown:
            flag = unknown[0].split("=")[0]
            near = difflib.get_close_matches(flag, list(self._option_string_actions), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unknown argument '{flag}'{hint}")
        return args


def set_up_logging(verbose: bool = False, quiet: bool = False) -> None:
    """Messages to the standard error: warnings, with `verbose` what is being done, with `quiet` errors only."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it has to say comes as our own errors
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)


def run_program(program: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Run `program` and return the exit code: its own or 0, 1 internal failure, 2 bad input, 130 interrupted.

    SIGTERM counts as an interruption. A failure of ours is one line too; --verbose shows where it happened.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return program() or 0
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        return 130
    except DittoError as error:
        if isinstance(error, StageError):
            LOG.info("where it happened:", exc_info=True)
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return error.exit_code


def leave(code: int) -> NoReturn:
    """End the process at once: a stage left behind in native code would make an ordinary exit crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
