"""User-facing errors. The CLI prints their text as one line and exits with `exit_code`."""


class DittoError(Exception):
    """Something a user can mend. The text says what is wrong, with which file, and what to do."""

    exit_code = 2
    stage: str | None = None  # set by the pipeline when a stage raised it


class InputError(DittoError):
    """A source, audio or option that cannot be used."""


class PackError(DittoError):
    """A model pack that is missing, incomplete or damaged."""


class OutputError(DittoError):
    """The result cannot be written (directory, permission, space)."""


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())


class StageError(DittoError):
    """A stage of the pipeline raised in the middle of a run; `stage` names it and `__cause__` is what it raised."""

    exit_code = 1

    def __init__(self, stage: str, cause: BaseException):
        kind = type(cause).__name__
        reason = f"{kind}: {cause}" if str(cause) else kind
        super().__init__(f"stage '{stage}' failed: {reason}")
        self.stage = stage
