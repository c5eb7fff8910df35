"""Refusals of the server: one shape for HTTP, WebSocket and WebRTC."""

from __future__ import annotations

from pathlib import Path

from core.errors import DittoError

RETRY_AFTER = 10  # seconds, the advice when the server is full


class Fault(Exception):
    """A request that is refused. `code` is for programs, the text for people."""

    def __init__(self, status: int, code: str, text: str, retry_after: int | None = None):
        super().__init__(text)
        self.status, self.code, self.retry_after = status, code, retry_after

    def body(self) -> dict[str, str]:
        """The same as JSON: code and message."""
        return {"code": self.code, "message": str(self)}


def full(what: str) -> Fault:
    """No room at the moment."""
    return Fault(503, "full", f"{what}; try again in {RETRY_AFTER} s", RETRY_AFTER)


def missing(what: str) -> Fault:
    """No such thing, or a name that none can have."""
    return Fault(404, "not_found", f"there is no such {what}")


def unusable(error: DittoError, *private: Path) -> Fault:
    """An input that the models refuse, without the names of the server's own files."""
    text = str(error)
    for path in private:
        text = text.replace(str(path), "the upload")
    return Fault(422 if error.exit_code == 2 else 500, "unusable" if error.exit_code == 2 else "failed", text)
