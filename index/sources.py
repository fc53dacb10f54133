"""The sources of a library: folders whose pictures stay where they are. What is in them is found by others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from index import maintenance
from index.interfaces import Catalog, ContentStore
from index.locks import Gate
from index.types import (
    FileInPlace,
    FileState,
    ImageRecord,
    KnownFile,
    Location,
    RefusedFile,
    Signature,
    Source,
    SourceFile,
    SourceState,
)


class LibrarySources:
    """What a library knows of folders in place; `library.sources`. Thread-safe.

    Each method is one transaction. Methods that take the id of a source raise SourceNotFound; besides, all may raise
    what every method of a library may. `Library.add_images` adds images in place.
    """

    def __init__(self, catalog: Catalog, content: ContentStore, gate: Gate) -> None:
        self._catalog = catalog
        self._content = content
        self._gate = gate

    def register(self, root: str) -> Source:
        """Return the source with this path, a new one where there is none. The path has to be absolute and real."""
        with self._gate.enter():
            return self._catalog.sources.register(root)

    def all(self) -> list[Source]:
        """Return all sources, in the order in which they came."""
        with self._gate.enter():
            return self._catalog.sources.all()

    def get(self, id: str) -> Source:
        """Return one source."""
        with self._gate.enter():
            return self._catalog.sources.get(id)

    def pause(self, id: str, paused: bool) -> Source:
        """Have nobody work on a source, or let them again."""
        with self._gate.enter():
            return self._catalog.sources.pause(id, paused)

    def note(self, id: str, state: SourceState, reason: str | None = None, mounts: Sequence[str] | None = None) -> None:
        """Write down how a pass ended, where `ready` is complete, and with `mounts` on which folders one is mounted."""
        with self._gate.enter():
            self._catalog.sources.note(id, state, reason, mounts)

    def known(self, id: str) -> dict[str, KnownFile]:
        """Return what is remembered of all files of a source, by path."""
        with self._gate.enter():
            return self._catalog.sources.known(id)

    def counts(self, id: str) -> dict[FileState, int]:
        """Return how many files of a source there are in each state; states without any are left out."""
        with self._gate.enter():
            return self._catalog.sources.counts(id)

    def files(self, id: str, state: FileState, after: str | None = None, limit: int = 50) -> list[SourceFile]:
        """Return up to `limit` files in a state whose paths come after `after`, in the order of their bytes."""
        with self._gate.enter():
            return self._catalog.sources.files(id, state, after, limit)

    def of(self, image_ids: Sequence[str]) -> dict[str, list[SourceFile]]:
        """Return the files of images by id; those without any are left out."""
        with self._gate.enter():
            return self._catalog.sources.of(image_ids)

    def locate(self, sha256: str) -> list[Location]:
        """Return where files with this content were last seen."""
        with self._gate.enter():
            return self._catalog.sources.locate(sha256)

    def attach(self, found: Sequence[tuple[FileInPlace, str]]) -> list[ImageRecord | Literal["unknown", "deleted"]]:
        """Note files by the SHA-256 of their content, where there are images of it; see `SourceStore.attach`."""
        with self._gate.enter():
            return self._catalog.sources.attach(found)

    def seen(self, id: str, files: Sequence[tuple[str, Signature]]) -> None:
        """Note that missing files are back as they were."""
        with self._gate.enter():
            self._catalog.sources.seen(id, files)

    def refuse(self, id: str, files: Sequence[RefusedFile]) -> None:
        """Note files that make no images."""
        with self._gate.enter():
            self._catalog.sources.refuse(id, files)

    def settle(self, id: str, gone: Sequence[str]) -> int:
        """Note that these files are gone; return how many images are missing since. See `SourceStore.settle`."""
        with self._gate.enter():
            return self._catalog.sources.settle(id, gone)

    def prune(self, id: str | None, before: datetime, spare: Sequence[str] = ()) -> int:
        """Delete the images that have been missing since before then; return how many. See `SourceStore.prune`."""
        with self._gate.enter():
            return self._remove_thumbnails(self._catalog.sources.prune(id, before, spare))

    def forget(self, id: str) -> int:
        """Delete a source, and the images that were in no other and have no copy; return how many. No file goes."""
        with self._gate.enter():
            return self._remove_thumbnails(self._catalog.sources.forget(id))

    def _remove_thumbnails(self, records: Sequence[ImageRecord]) -> int:
        maintenance.try_remove(self._catalog, self._content, [record.sha256 for record in records])
        return len(records)


def is_away(root: str) -> bool:
    """Whether a folder is not there, cannot be listed, or is empty: what a drive leaves that is not mounted."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except OSError:
        return True
