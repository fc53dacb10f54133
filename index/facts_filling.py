"""Finding out what the files of images say, for images that were stored before anybody asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

from index.errors import StorageFailed
from index.interfaces import Catalog, ContentStore
from index.pacing import Progress
from index.types import PhotoFacts

ReadFacts = Callable[[list[bytes]], Sequence[PhotoFacts]]

_BATCH = 16  # files in memory at once


class FactsFilled(NamedTuple):
    """How many files were read, and how many were not there to be read."""

    read: int
    missing: int


def fill_facts(catalog: Catalog, content: ContentStore, read: ReadFacts, progress: Progress) -> FactsFilled:
    """Ask all files that nobody has asked yet, and keep the answers, some at a time."""
    total = catalog.photos.count_unread()
    done = missing = last = 0
    progress(done, total)
    while batch := catalog.photos.unread(last, _BATCH):
        last = batch[-1][0]
        contents: dict[str, bytes] = {}
        for _, record in batch:
            try:
                with closing(content.open(record.sha256, "content")) as file:
                    contents[record.sha256] = file.read()
            except (FileNotFoundError, StorageFailed):  # or it changes while it is read
                missing += 1
        catalog.photos.set(dict(zip(contents, read(list(contents.values())), strict=True)))
        done += len(contents)
        progress(done + missing, max(total, done + missing))
    return FactsFilled(done, missing)
