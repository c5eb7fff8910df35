"""What the command lines share: flags with hints, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from core.errors import DittoError, StageError
from core.settings.names import nearest

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
            near = nearest(flag, self._option_string_actions)
            hint = f"; did you mean {near}?" if near else ""
            self.error(f"unknown argument '{flag}'{hint}")
        return args


def set_up_logging(verbose: bool = False, quiet: bool = False) -> None:
    """Messages to the standard error: warnings, with `verbose` what is being done, with `quiet` errors only."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it has to say comes as our own errors
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)


def run_program(program: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Run `program` and return the exit code: its own or 0, 1 internal failure, 2 bad input, 130 interrupted.

    SIGTERM counts as an interruption. A failure of ours is one line too; --verbose, or python -X dev, shows where it
    happened. When nobody reads the standard output any more, the program ends silently, with 141 as others do.
    """
    stop = _Stop()
    try:
        code = program() or 0
        _flush()
        return code
    except KeyboardInterrupt:
        _say(interrupted)
        return 130
    except DittoError as error:
        return _failed(str(error), error.exit_code)
    except OSError as error:
        if type(error) is BrokenPipeError and error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
            return 141
        if error.filename is None:
            return _failed(f"internal failure: {type(error).__name__}: {error}", 1)
        return _failed(f"{error.filename}: {error.strerror}", 2)
    except Exception as error:
        if stop.came:  # while a library was being loaded, which made something else of it
            _say(interrupted)
            return 130
        return _failed(f"internal failure: {type(error).__name__}: {error}", 1)


class _Stop:
    """Hears Ctrl-C, unless it is ignored as in the background of a shell, and SIGTERM."""

    def __init__(self):
        self.came = False
        signal.signal(signal.SIGTERM, self)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)

    def __call__(self, *_: object) -> None:
        self.came = True
        raise KeyboardInterrupt


def _failed(text: str, code: int) -> int:
    """Say in one line what the current exception was about, and where it happened to those who want to know."""
    if code == StageError.exit_code:
        LOG.log(logging.ERROR if sys.flags.dev_mode else logging.INFO, "where it happened:", exc_info=True)
    _say(f"error: {' '.join(text.split())}")
    return code


def _say(line: str) -> None:
    """A line on the standard error, if it was not closed."""
    if sys.stderr is not None:
        sys.stderr.write(f"{line}\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed by who started us
            stream.flush()


def leave(code: int) -> NoReturn:
    """End the process at once: a stage left behind in native code would make an ordinary exit crash."""
    _flush()
    os._exit(code)
