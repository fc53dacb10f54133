"""What goes wrong in a command: one line for people, an exit status and a code for programs."""

from __future__ import annotations

from collections.abc import Mapping

FAILED = 1
"""Exit status when something failed, even if the rest went well."""
USAGE = 2
"""Exit status when the command line or the settings make no sense."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""
BROKEN_PIPE = 141
"""Exit status when the reader of the output went away, as of a program that SIGPIPE ends."""


class CommandError(Exception):
    """Something that ends a command: a stable `code`, a message that says what to do, an exit status."""

    def __init__(self, code: str, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def error_document(code: str, message: str) -> Mapping[str, object]:
    """What `--json` prints for a command that failed."""
    return {"error": {"code": code, "message": message}}
