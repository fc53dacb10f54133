"""Reading picture files that are named on the command line or lie in folders."""

from __future__ import annotations

from pathlib import Path

from app.cli.failures import CommandError


class FileRejected(CommandError):  # noqa: N818  # it is the file that is rejected
    """A file that cannot be read, or is too large to be; or whose answer cannot be written."""


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. FileRejected if there are too many, or they cannot be read."""
    from app.ingest import files

    try:
        return files.read_file(path, max_bytes)
    except files.FileUnreadError as error:
        raise FileRejected(error.code, str(error)) from error
