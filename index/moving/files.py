"""Exporting a library of a configuration to a file, and importing one."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from index.atomic_files import PRIVATE_FILE, publish, sync_directory
from index.content.referenced import ReferencedContent
from index.errors import ArchiveDamaged, ArchiveMismatch, SpaceMismatch
from index.moving.archive import ArchiveReader, DamagedError
from index.moving.exporting import Exported, Resuming
from index.moving.importing import Imported
from index.opening import LibraryConfig, open_library
from index.pacing import Progress
from index.repairing import RenderThumbnail
from index.types import Location, Signature


def export_library(
    config: LibraryConfig,
    target: Path,
    *,
    copies: bool = False,
    restart: bool = False,
    progress: Progress = lambda done, total: None,
    resuming: Resuming = lambda begun: None,
) -> Exported:
    """Write a library to a file that must not be there yet; as `LibraryTransfer.export_to`.

    What an interrupted export of this file has left in `unfinished_files` is continued, unless it is to `restart`.
    FileExistsError, OSError.
    """
    _require_new(target)
    with open_library(config) as library, _unfinished(target, copies) as unfinished:
        if restart:
            unfinished.clear()
        exported = library.transfer.export_to(
            unfinished.archive, unfinished.spool, copies=copies, progress=progress, resuming=resuming
        )
        unfinished.publish(target)
    return exported


def unfinished_files(target: Path) -> list[Path]:
    """Return the files beside it in which an interrupted export of `target` is, if there are any."""
    return [path for path in (_archive_of(target), *_spools_of(target)) if path.exists()]


def import_library(
    config: LibraryConfig,
    source: Path,
    *,
    render: RenderThumbnail,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Take over the library in a file into one that is made where there is none; as `LibraryTransfer.import_from`.

    OSError; ArchiveDamaged, ArchiveMismatch, and what opening a library raises.
    """
    with source.open("rb") as file:
        try:
            reader = ArchiveReader(file)
            space = reader.header.space.space()
            try:
                library = open_library(config, space)
            except SpaceMismatch as error:
                raise ArchiveMismatch(error.library, space) from error
            with library:
                return library.transfer.import_from(reader, render, find_in_place, progress)
        except DamagedError as error:
            raise ArchiveDamaged(source, str(error)) from error


def find_in_place(root: str, path: str, sha256: str) -> Signature | None:
    """Return what a file looks like, if it has this content; no link is followed, and nothing is told of others."""
    try:
        with closing(ReferencedContent(Location(root, path, Signature(0, 0, 0)))) as content:
            return content.signature if content.digest() == sha256 else None
    except (OSError, ValueError):
        return None


def _archive_of(target: Path) -> Path:
    return target.absolute().with_name(f"{target.name}.unfinished")


def _spools_of(target: Path) -> tuple[Path, Path]:
    """Return where the records are of an export without copies of images in place, and of one with them."""
    archive = _archive_of(target)
    return archive.with_name(f"{archive.name}-records"), archive.with_name(f"{archive.name}-records-copies")


@dataclass
class _Unfinished:
    """The two files of an export that is at work, open for reading and writing; nobody else writes them meanwhile."""

    archive: IO[bytes]
    spool: IO[bytes]
    paths: tuple[Path, Path]

    def clear(self) -> None:
        """Forget what an earlier run has left."""
        for file in (self.archive, self.spool):
            file.truncate(0)

    def publish(self, target: Path) -> None:
        """Give the finished archive its name."""
        self.archive.flush()
        os.fsync(self.archive.fileno())
        publish(self.paths[0], target)
        sync_directory(target.absolute().parent)
        self.remove()

    def remove(self) -> None:
        """Remove what has no other name."""
        for path in self.paths:
            path.unlink(missing_ok=True)


@contextmanager
def _unfinished(target: Path, copies: bool) -> Iterator[_Unfinished]:
    """Give the files of an export, which stay when it is interrupted, once anything is in the archive."""
    path, (spool_path, other) = _archive_of(target), _spools_of(target)
    if copies:
        spool_path, other = other, spool_path
    with _open_own(path) as archive:
        try:
            fcntl.flock(archive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileExistsError(17, "Another export is writing this file", str(target)) from error
        other.unlink(missing_ok=True)
        with _open_own(spool_path) as spool:
            unfinished = _Unfinished(archive, spool, (path, spool_path))
            try:
                _require_new(target)  # by now somebody else may have finished it
                yield unfinished
            finally:
                if not os.fstat(archive.fileno()).st_size:
                    unfinished.remove()


def _require_new(target: Path) -> None:
    if target.exists() or target.is_symlink():
        archive = _archive_of(target)
        if archive.exists() and archive.samefile(target):  # killed when all was done but this
            for path in unfinished_files(target):
                path.unlink(missing_ok=True)
        raise FileExistsError(17, "There is such a file already, and it is not overwritten", str(target))


def _open_own(path: Path) -> IO[bytes]:
    """Open a file for reading and writing, or make it, and never one that has another name, too: that is complete."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = open(os.open(path, flags, PRIVATE_FILE), "r+b")  # noqa: PTH123, SIM115  # a descriptor, returned
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            file.close()
            raise FileExistsError(17, "This file of somebody else is in the way of the export", str(path))
        if status.st_nlink == 1:
            os.fchmod(file.fileno(), PRIVATE_FILE)
            return file
        file.close()
        path.unlink(missing_ok=True)
