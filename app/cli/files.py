"""Picture files named on the command line: finding them in folders, and reading them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from app.cli.errors import CommandError

PICTURE_ENDINGS = frozenset(
    (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
"""Endings of the files that are taken out of folders, in lower case. What a file is, its content decides."""


class FileRejected(CommandError):  # noqa: N818  # it is the file that is rejected
    """A file that cannot be read, or is too large to be."""


def find_pictures(
    paths: Sequence[Path],
    *,
    without: Path | None = None,
    on_error: Callable[[Path, OSError], None] = lambda path, error: None,
) -> Iterator[Path]:
    """The files among `paths`, whatever they are called, and the pictures in the folders, at any depth.

    In folders, hidden files and folders are skipped, and so is the folder `without` (a library holds
    pictures, too). Links are followed, but no folder is entered twice, so that loops end. The order is that
    of `paths`, and alphabetical in a folder. `on_error` is told of folders that cannot be read.
    """
    entered: set[tuple[int, int]] = set()
    if without is not None and without.exists():
        entered.add(_identity(without))
    for path in paths:
        if path.is_dir():
            yield from _walk(path, entered, on_error)
        else:
            yield path


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. FileRejected if there are too many, or they cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise FileRejected("file_unreadable", "This is no file. Name a picture file or a folder.")
        if status.st_size > max_bytes:
            raise FileRejected(
                "image_too_large",
                f"The file has {status.st_size:,} bytes; the limit is {max_bytes:,} (VISEM_MAX_IMAGE_BYTES). "
                "Add a smaller file.",
            )
        return path.read_bytes()
    except OSError as error:
        raise FileRejected("file_unreadable", f"The file cannot be read: {error.strerror}.") from error


def _walk(folder: Path, entered: set[tuple[int, int]], on_error: Callable[[Path, OSError], None]) -> Iterator[Path]:
    waiting = [folder]  # a stack instead of recursion: folders may be nested deeper than Python's stack
    while waiting:
        folder = waiting.pop()
        try:
            identity = _identity(folder)
            if identity in entered:
                continue
            entered.add(identity)
            files, folders = _list(folder)
        except OSError as error:
            on_error(folder, error)
            continue
        for name in sorted(files):
            yield folder / name
        waiting += [folder / name for name in sorted(folders, reverse=True)]


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the pictures and of the folders in a folder."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in PICTURE_ENDINGS:  # noqa: PTH122  # a Path each is slow
                files.append(entry.name)
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, for one: reading it will say so
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
