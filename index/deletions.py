"""Deletions that can be undone: images that wait in the catalog until their deletion is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from index import maintenance
from index.interfaces import Catalog, ContentStore
from index.locks import Gate
from index.types import PendingDeletion


class LibraryDeletions:
    """The part of an open library that knows its pending deletions: `Library.deletions`.

    It carries nothing out by itself: whoever schedules a deletion calls `carry_out` when it is due.
    """

    def __init__(self, catalog: Catalog, content: ContentStore, gate: Gate) -> None:
        self._catalog = catalog
        self._content = content
        self._gate = gate

    def schedule(self, image_id: str, due: datetime) -> None:
        """Have an image wait for its deletion, which can be undone until then; RecordNotFound.

        Adding the image again cancels it.
        """
        with self._gate.enter():
            self._catalog.pending.schedule(image_id, due)

    def postpone(self, before: datetime, due: datetime) -> list[str]:
        """Have those that were due by `before` wait until `due`; return the ids of the images."""
        with self._gate.enter():
            return self._catalog.pending.postpone(before, due)

    def cancel(self, image_ids: Sequence[str]) -> list[str]:
        """Keep these images after all; return the ids of those that waited for their deletion."""
        with self._gate.enter():
            return self._catalog.pending.cancel(image_ids)

    def pending(self) -> list[PendingDeletion]:
        """Return the images that wait for their deletion, the first due first."""
        with self._gate.enter():
            return self._catalog.pending.all()

    def carry_out(self, image_id: str, until: datetime) -> bool:
        """Delete an image, as `Library.delete_image`, if its deletion is pending and due by then; False if not."""
        with self._gate.enter():
            record = self._catalog.pending.carry_out(image_id, until)
            if record is not None:
                maintenance.try_remove(self._catalog, self._content, [record.sha256])
            return record is not None
