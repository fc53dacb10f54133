"""Marks on records, for every process that has the library open: empty files in a folder of the library.

The file system lets only one of those who take a mark away at the same time have it. Two things are marked:

- `deleting`: images that are about to be deleted. Whoever carries out a deletion takes the mark away first; whoever
  stores the photograph again takes it away as well. So what somebody stores again, by whatever process, is kept. A mark
  by itself deletes nothing: one that a killed process left behind does no harm.
- `forgetting`: images whose captions go with them (app/stored_captions.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


class Marks:
    """The marks of one kind, by the ids of records. Thread-safe, and safe between processes."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when there is a first mark; the library's folder has to be there."""
        self._folder = folder

    def put(self, record_id: str) -> None:
        """Mark a record; once more does no harm."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / record_id).touch()

    def take(self, record_id: str) -> bool:
        """Take the mark of a record away; False if there is none, or somebody else was faster."""
        try:
            (self._folder / record_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def __contains__(self, record_id: str) -> bool:
        return (self._folder / record_id).exists()

    def __iter__(self) -> Iterator[str]:
        return iter([path.name for path in self._folder.iterdir()] if self._folder.exists() else [])
