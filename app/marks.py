"""Marks on photographs that are about to be deleted, for every process that has the library open.

A mark is an empty file in the library. Whoever carries out a deletion takes the mark away first; whoever stores the
photograph again takes it away as well. The file system gives it to one of them only, so what somebody stores again, by
whatever process, is kept. A mark by itself deletes nothing: one that a killed process left behind does no harm.
"""

from __future__ import annotations

from pathlib import Path


class DeletionMarks:
    """The marks of one library, by the ids of its images. Thread-safe, and safe between processes."""

    def __init__(self, library: Path) -> None:
        """`library` is the directory of the library."""
        self._folder = library / "deleting"

    def put(self, image_id: str) -> None:
        """Mark an image; once more does no harm."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / image_id).touch()

    def take(self, image_id: str) -> bool:
        """Take the mark of an image away; False if there is none, or somebody else was faster."""
        try:
            (self._folder / image_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def __contains__(self, image_id: str) -> bool:
        return (self._folder / image_id).exists()
