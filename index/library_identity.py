"""Whether a library is still where it was opened: what is open stays readable when its folder is gone or another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from index.errors import LibraryReplaced


class Presence:
    """Files and folders as they were when this was made."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._known = {path: _identity(path) for path in paths}

    def verify(self) -> None:
        """Raise LibraryReplaced unless all of them are the same as then. Takes some microseconds."""
        for path, identity in self._known.items():
            if _identity(path) != identity:
                raise LibraryReplaced(path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
