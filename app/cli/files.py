"""Reading picture files that are named on the command line or lie in folders."""

from __future__ import annotations

import stat
from pathlib import Path

from app.cli.failures import CommandError


class FileRejected(CommandError):  # noqa: N818  # it is the file that is rejected
    """A file that cannot be read, or is too large to be; or whose answer cannot be written."""


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. FileRejected if there are too many, or they cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise FileRejected("file_unreadable", "This is not a file. Name an image file or a folder.")
        if status.st_size > max_bytes:
            raise FileRejected(
                "image_too_large",
                f"The file has {status.st_size:,} bytes; the limit is {max_bytes:,} (VISEM_MAX_IMAGE_BYTES). "
                "Add a smaller file.",
            )
        return path.read_bytes()
    except OSError as error:
        raise FileRejected("file_unreadable", f"The file cannot be read: {error.strerror}.") from error
