"""What an interrupted export has already written of its archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO

from index.moving.archive import ArchiveReader, ArchiveWriter, Beginning, DamagedError
from index.types.moving import Header


class ResumedArchive:
    """An archive in a file that an earlier run may have begun: its parts are compared before any is written.

    Whatever is behind the first part that is damaged, or not the one that is due, is written anew.
    """

    def __init__(self, file: IO[bytes], header: Header) -> None:
        """Look at what the file has; it is an archive of this export if it begins with its header."""
        self._file = file
        self._header = header
        self._kept: Beginning | None = None
        self._parts: Iterator[dict[str, bytes]] = iter(())
        self._writer: ArchiveWriter | None = None
        file.seek(0)
        try:
            reader = ArchiveReader(file)
            if reader.header == header:
                self._reader, self._kept, self._parts = reader, reader.beginning, reader.parts()
        except DamagedError:
            pass
        self.next = self._read()

    def part(self, files: Mapping[str, bytes]) -> bool:
        """Have this part next; tell whether it was there already."""
        if self.next == files:
            self._kept = self._reader.beginning
            self.next = self._read()
            return True
        self.writer().part(files)
        return False

    def writer(self) -> ArchiveWriter:
        """Return what writes behind the parts that are there."""
        if self._writer is None:
            self.next = None
            if self._kept is None:
                self._file.seek(0)
                self._file.truncate()
            self._writer = ArchiveWriter(self._file, self._header, self._kept)
        return self._writer

    def _read(self) -> dict[str, bytes] | None:
        try:
            return next(self._parts, None)
        except DamagedError:
            return None
