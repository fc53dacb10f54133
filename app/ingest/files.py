"""Reading picture files from a disk."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from model.errors import ImageError


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
    """The bytes of a file. FileUnreadError if there are too many, or they cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise FileUnreadError("file_unreadable", "This is not a file. Name an image file or a folder.")
        if status.st_size > max_bytes:
            raise FileUnreadError.too_large(status.st_size, max_bytes)
        return path.read_bytes()
    except OSError as error:
        raise FileUnreadError("file_unreadable", f"The file cannot be read: {error.strerror}.") from error
