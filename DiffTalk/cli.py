"""What the command lines of DiffTalk share: flags with hints, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from core.errors import DittoError


class Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one line that suggests the nearest right one."""

    def error(self, message: str) -> NoReturn:
        """End the program with one line and exit code 2."""
        self.exit(2, f"error: {message} (see --help)\n")

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        """Parse `argv`; unknown flags end the program with exit code 2."""
        args, unknown = self.parse_known_args(argv)
        if unknown:
            near = difflib.get_close_matches(unknown[0].split("=")[0], list(self._option_string_actions), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unknown argument '{unknown[0]}'{hint}")
        return args


def split_settings(argv: list[str]) -> tuple[list[str], list[str]]:
    """Arguments and `key=value` words, which argparse would take only when they stand together."""
    words = [word for word in argv if not word.startswith("-") and "." in word.partition("=")[0] and "=" in word]
    return [word for word in argv if word not in words], words


def run(program: Callable[[], None], verbose: bool = False, quiet: bool = False) -> int:
    """Run `program`; returns the exit code (0 done, 1 internal failure, 2 bad input, 130 interrupted)."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        program()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except DittoError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # the last resort: a fault of ours, shown with --verbose
        logging.getLogger(__name__).info("where it happened:", exc_info=True)
        print(f"error: internal failure: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0
