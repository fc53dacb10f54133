"""Where an ingestion asks what is there already, and puts what is new: a library, or what leads to one elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from index import Added, FileInPlace, ImageRecord, Library, NewImage


class Destination(Protocol):
    """Takes images. Every method may raise what a `Library` raises."""

    def known(self, contents: Mapping[str, bool]) -> dict[str, ImageRecord]:
        """The images with these contents, by SHA-256, of which nothing is missing; none of them is deleted any more.

        `contents` says of each whether the library is to have a copy: without, only its thumbnail can be missing.
        """

    def add(self, images: Sequence[NewImage], found: Sequence[tuple[FileInPlace, str]]) -> list[Added[ImageRecord]]:
        """Add images in one transaction; the answers are in their order.

        `found` are files in place and the contents of images which they are files of as well.
        """


class LibraryDestination:
    """A library that is open."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def known(self, contents: Mapping[str, bool]) -> dict[str, ImageRecord]:
        """As `Destination.known`."""
        found = self._library.find_images(list(contents))
        # Now, as a deletion may be due before the images are stored.
        self._library.deletions.cancel([record.id for record in found.values()])
        # Adding an image once more brings back what got lost.
        return {sha256: record for sha256, record in found.items() if self._is_whole(record, contents[sha256])}

    def add(self, images: Sequence[NewImage], found: Sequence[tuple[FileInPlace, str]]) -> list[Added[ImageRecord]]:
        """As `Destination.add`."""
        added = self._library.add_images(images) if images else []
        if found:
            self._library.sources.attach(found)
        return added

    def _is_whole(self, record: ImageRecord, copied: bool) -> bool:
        return self._library.has_files(record) if copied else self._library.has_thumbnail(record)
