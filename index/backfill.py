"""Finding out, for images that were stored before anybody asked, what their files say and what they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

from index.errors import StorageFailed
from index.interfaces import Catalog, ContentStore
from index.locks import Gate
from index.pacing import Progress
from index.types import NameConcepts, PhotoFacts, Space

ReadFacts = Callable[[list[bytes]], Sequence[PhotoFacts]]

_BATCH = 16  # files in memory at once


class FactsFilled(NamedTuple):
    """How many files were read, and how many were not there to be read."""

    read: int
    missing: int


class LibraryBackfill:
    """The part of an open library that fills in what its images lack: `Library.backfill`."""

    def __init__(self, catalog: Catalog, content: ContentStore, gate: Gate, space: Callable[[], Space]) -> None:
        """`space` says of which space the library's vectors are now."""
        self._catalog = catalog
        self._content = content
        self._gate = gate
        self._space = space

    def unread_facts(self) -> int:
        """Return how many images there are whose files nobody has asked yet what they say."""
        with self._gate.enter():
            return self._catalog.photos.count_unread()

    def fill_facts(self, read: ReadFacts, progress: Progress = lambda done, total: None) -> FactsFilled:
        """Find out what the files of images say that nobody has asked yet, some at a time; say how many there were.

        `read` takes contents in batches and returns what each says. Whatever it raises comes through, and the next call
        goes on where this one stopped. `progress` is told how many files of how many are done.
        """
        with self._gate.enter():
            total = self._catalog.photos.count_unread()
            done = missing = last = 0
            progress(done, total)
            while batch := self._catalog.photos.unread(last, _BATCH):
                last = batch[-1][0]
                contents: dict[str, bytes] = {}
                for _, record in batch:
                    try:
                        with closing(self._content.open(record.sha256, "content")) as file:
                            contents[record.sha256] = file.read()
                    except (FileNotFoundError, StorageFailed):  # or it changes while it is read
                        missing += 1
                self._catalog.photos.set(dict(zip(contents, read(list(contents.values())), strict=True)))
                done += len(contents)
                progress(done + missing, max(total, done + missing))
            return FactsFilled(done, missing)

    def describe(self, name: NameConcepts) -> int:
        """Give concepts to the images that have none; return how many there were. SpaceMismatch.

        None have any after a reindex, or in a library of a version of Visem that knew no concepts.
        """
        with self._gate.enter():
            return self._catalog.describe(self._space(), name)
