"""Exporting a library of a configuration to a file, and importing one."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from index.atomic_files import PRIVATE_FILE, publish, sync_directory
from index.content.referenced import ReferencedContent
from index.errors import ArchiveDamaged, ArchiveMismatch, SpaceMismatch
from index.moving.archive import ArchiveReader, DamagedError
from index.moving.exporting import Exported
from index.moving.importing import Imported
from index.opening import LibraryConfig, open_library
from index.pacing import Progress
from index.repairing import RenderThumbnail
from index.types import Location, Signature

_UNFINISHED = ".visem-export"


def export_library(
    config: LibraryConfig, target: Path, *, copies: bool = False, progress: Progress = lambda done, total: None
) -> Exported:
    """Write a library to a file that must not be there yet; as `LibraryTransfer.export_to`.

    FileExistsError, OSError.
    """
    if target.exists() or target.is_symlink():
        raise FileExistsError(17, "There is such a file already, and it is not overwritten", str(target))
    with open_library(config) as library, _unfinished(target) as (file, path):
        with tempfile.TemporaryFile(dir=path.parent) as spool:
            exported = library.transfer.export_to(file, spool, copies=copies, progress=progress)
        file.flush()
        os.fsync(file.fileno())
        publish(path, target)
    sync_directory(target.absolute().parent)
    return exported


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


@contextmanager
def _unfinished(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Give a file beside the target. One that a killed export left is used again, so that there is never more of it."""
    path = target.absolute().with_name(f".{target.name}{_UNFINISHED}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileExistsError(17, "Another export is writing this file", str(target)) from error
        try:
            os.fchmod(descriptor, PRIVATE_FILE)
            file.truncate(0)
            yield file, path
        finally:
            path.unlink(missing_ok=True)
