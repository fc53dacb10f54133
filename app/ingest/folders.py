"""What lies in folders: the files that may be pictures, what is skipped, and what is left out as a whole."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.images.formats import FormatName

_COMMON = "apng avif avifs bmp dib gif heic heics heif heifs hif jfi jfif jpe jpeg jpg mpo png tif tiff webp"
_OF_EXTRAS: dict[FormatName, str] = {
    "JPEG XL": "jxl",
    "camera raw": "3fr arw cr2 cr3 crw dcr dng erf fff iiq kdc mef mos mrw nef nrw orf pef raf rw2 rwl sr2 srf srw x3f",
}
PICTURE_ENDINGS = frozenset(f".{ending}" for endings in (_COMMON, *_OF_EXTRAS.values()) for ending in endings.split())
"""Endings of the files that are taken out of folders, in lower case. What a file is, its content decides."""

_NO_PHOTOGRAPHS = {
    "@eadir": "thumbnails of a NAS",
    "#recycle": "deleted files of a NAS",
    "@recycle": "deleted files of a NAS",
    "#snapshot": "snapshots of a NAS",
    "@__thumb": "thumbnails of a NAS",
    "$recycle.bin": "deleted files of Windows",
    "system volume information": "system files of Windows",
    "lost+found": "fragments of a file system",
}
_PREVIEWS = (".lrdata", "previews of Lightroom")

_TOLD = 12
"""Endings of skipped files that are listed."""
_PEEK = 64
"""Bytes that mark a file without an ending as a picture."""


def readable_endings() -> list[str]:
    """Those of `PICTURE_ENDINGS` that this installation reads, in order."""
    from model.images.formats import READABLE_FORMATS  # imports Pillow, which `visem --help` does without

    unread = {f".{one}" for name in _OF_EXTRAS if name not in READABLE_FORMATS for one in _OF_EXTRAS[name].split()}
    return sorted(PICTURE_ENDINGS - unread)


class Folders:
    """A pass over files, whatever they are called, and the pictures in folders, at any depth.

    In folders, hidden files and folders are skipped. Links are followed, but no folder is entered twice, so that loops
    end. The order is that of `paths`, and alphabetical in a folder. `on_error` is called if a folder cannot be read,
    and `on_left_out` for those that hold no photographs of anybody, and why. A library of Visem is one of them;
    `without` is the one that is in use, and left out without a word. Files with the endings of `also` are taken, too.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        without: Path | None = None,
        also: Collection[str] = (),
        on_error: Callable[[Path, OSError], None] = lambda path, error: None,
        on_left_out: Callable[[Path, str], None] = lambda path, reason: None,
    ) -> None:
        self.skipped: Counter[str] = Counter()
        """How many files of each ending, in lower case, were passed by as no pictures; grows with the iteration."""
        self._paths = paths
        self._endings = PICTURE_ENDINGS.union(also)
        self._on_error = on_error
        self._on_left_out = on_left_out
        self._entered: set[tuple[int, int]] = set()
        if without is not None and without.exists():
            self._entered.add(_identity(without))

    def __iter__(self) -> Iterator[Path]:
        for path in self._paths:
            if path.is_dir():
                yield from self._walk(path)
            else:
                yield path

    def _walk(self, folder: Path) -> Iterator[Path]:
        waiting = [folder]  # a stack instead of recursion: folders may be nested deeper than Python's stack
        while waiting:
            folder = waiting.pop()
            try:
                identity = _identity(folder)
                if identity in self._entered:
                    continue
                self._entered.add(identity)
                with os.scandir(folder) as entries:
                    listed = [entry for entry in entries if not entry.name.startswith(".")]
            except OSError as error:
                self._on_error(folder, error)
                continue
            names = {entry.name for entry in listed}
            if holds_library(names):
                self._on_left_out(folder, "a library of Visem")
                continue
            folders: list[Path] = []
            for entry in sorted(listed, key=lambda entry: entry.name):
                path = folder / entry.name
                if not _is_folder(entry):
                    if self._is_picture(path):
                        yield path
                elif (reason := reason_to_leave_out(entry.name)) is not None:
                    self._on_left_out(path, reason)
                else:
                    folders.append(path)
            waiting += reversed(folders)

    def _is_picture(self, path: Path) -> bool:
        ending = path.suffix.lower()
        if ending in self._endings or (not ending and _begins_as_picture(path)):
            return True
        self.skipped[ending] += 1
        return False


def describe_skipped(skipped: Counter[str]) -> str:
    """`3 .txt, 1 without ending`, the most frequent first, and how many more there are."""
    told = [f"{number:,} {ending or 'without ending'}" for ending, number in skipped.most_common(_TOLD)]
    more = skipped.total() - sum(number for _, number in skipped.most_common(_TOLD))
    return ", ".join(told + ([f"{more:,} others"] if more else []))


def reason_to_leave_out(name: str) -> str | None:
    """Return what a folder with this name contains besides photographs; None if the name is not known."""
    lower = name.lower()
    return _PREVIEWS[1] if lower.endswith(_PREVIEWS[0]) else _NO_PHOTOGRAPHS.get(lower)


def begins_as_picture(data: bytes) -> bool:
    """Tell whether a file that begins with these bytes, and has no ending, is a picture."""
    from model.errors import ImageError
    from model.images.formats import identify

    try:
        identify(data[:_PEEK])
    except ImageError:
        return False
    return True


def _begins_as_picture(path: Path) -> bool:
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return False
        with path.open("rb") as file:
            return begins_as_picture(file.read(_PEEK))
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, for one: reading it will say so
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def holds_library(names: Collection[str]) -> bool:
    """Tell whether a folder with these names in it is a library of Visem."""
    from index import is_library

    return is_library(names)
