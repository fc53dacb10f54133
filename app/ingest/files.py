"""Reading picture files from a disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from model.errors import ImageError

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # opening a pipe must not wait for a writer


class FileUnreadError(ImageError):
    """A file that was not even read, and why: besides the codes of pictures also `file_unreadable`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__("image_unreadable", message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, str(self))

    @classmethod
    def too_large(cls, size: int, max_bytes: int) -> FileUnreadError:
        """The error for a file with too many bytes."""
        return cls(
            "image_too_large",
            f"The file has {size:,} bytes; the limit is {max_bytes:,} (VISEM_MAX_IMAGE_BYTES). Add a smaller file.",
        )


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. FileUnreadError if there are too many, they cannot be read, or change meanwhile."""
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise FileUnreadError("file_unreadable", "This is not a file. Name an image file or a folder.")
            if before.st_size > max_bytes:
                raise FileUnreadError.too_large(before.st_size, max_bytes)
            data = file.read(max_bytes + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise FileUnreadError("file_unreadable", f"The file cannot be read: {error.strerror}.") from error
    if len(data) != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise FileUnreadError("file_unreadable", "The file was changed while it was read. Add it again.")
    return data
