"""Moving all that a library has to another one, and taking over what another one had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING

from index.interfaces import Catalog, ContentStore, VectorIndex
from index.locks import Gate
from index.pacing import Progress
from index.repairing import RenderThumbnail
from index.types import Space, Target

if TYPE_CHECKING:  # whoever moves nothing needs none of it
    from index.moving.archive import ArchiveReader
    from index.moving.exporting import Exported, Resuming
    from index.moving.importing import FindInPlace, Imported


class LibraryTransfer:
    """The part of an open library that writes and reads archives: `Library.transfer`."""

    def __init__(
        self,
        catalog: Catalog,
        content: ContentStore,
        indexes: Mapping[Target, VectorIndex],
        gate: Gate,
        space: Callable[[], Space],
    ) -> None:
        """`space` says of which space the library's vectors are now."""
        self._catalog = catalog
        self._content = content
        self._indexes = indexes
        self._gate = gate
        self._space = space

    def export_to(
        self,
        file: IO[bytes],
        spool: IO[bytes],
        *,
        copies: bool,
        progress: Progress = lambda done, total: None,
        resuming: Resuming = lambda begun: None,
    ) -> Exported:
        """Write everything of one moment as an archive to `file`; `spool` is a file of its own to work with.

        If both have what an interrupted export left there, it goes on, and `resuming` is told when it was begun.
        With `copies`, images in place become copies in the archive, if their files can be read. OSError.
        """
        from index.moving.exporting import Exporting

        with self._gate.enter():
            exporting = Exporting(self._catalog, self._content, copies=copies, progress=progress, resuming=resuming)
            return exporting.run(file, spool)

    def import_from(
        self,
        reader: ArchiveReader,
        render: RenderThumbnail,
        find_in_place: FindInPlace,
        progress: Progress = lambda done, total: None,
    ) -> Imported:
        """Take over everything that an archive has; what is there already stays as it is. DamagedError, SpaceMismatch.

        `render` makes thumbnails where they are missing, and `find_in_place` looks for files of folders in place.
        """
        from index.moving.importing import Importing

        with self._gate.enter():
            importing = Importing(
                self._catalog,
                self._content,
                self._space(),
                render=render,
                find_in_place=find_in_place,
                progress=progress,
            )
            imported = importing.run(reader)
            self._indexes["images"].added(imported.taken.images.new)
            self._indexes["sentences"].added(imported.taken.sentences.new)
            return imported
