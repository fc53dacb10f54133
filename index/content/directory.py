"""A content store in a directory: the images as they were given, and thumbnails.

    content/ab/abcd…        the bytes, named by their SHA-256
    thumbnails/ab/abcd….jpg
    incoming/               half-written files; a rename moves them into place
    damaged/                what a repair set aside

A file is on the disk (fsync of the file, then of its directory) before `put_many` returns, so that a record
written afterwards can never name a file that a power cut takes away. Paths are derived from validated digests
only, files are for the owner of the library alone, and below `content` and `thumbnails` no link is followed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from index.atomic_files import PRIVATE_FOLDER, older, remove_unfinished, sync_directory, write_all
from index.content.safe_open import open_below
from index.errors import StorageFailed
from index.interfaces import ContentStat
from index.types import ContentKind

_LINKS = frozenset({errno.ELOOP, errno.ENOTDIR})  # what the system says of links that it was told not to follow
_SHA256 = re.compile(r"[0-9a-f]{64}")


class DirectoryContent:
    """A file that is open; see `Content` for what each method promises. Thread-safe."""

    def __init__(self, path: Path, top: Path) -> None:
        """Open the file, which is below `top`; FileNotFoundError, also if it is a link, or empty: no image is."""
        self.path = path
        try:
            descriptor = open_below(str(top.resolve()), path.relative_to(top).as_posix())
        except OSError as error:
            if error.errno in _LINKS:
                raise FileNotFoundError(error.errno, "a link is in the way", str(path)) from error
            raise
        self._file = open(descriptor, "rb", buffering=0)  # noqa: SIM115, PTH123  # a descriptor, closed by `close`
        status = os.fstat(self._file.fileno())
        self.size = status.st_size
        self.modified = status.st_mtime
        if not self.size:
            self._file.close()
            raise FileNotFoundError(f"{path} is empty")

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to `end`, or up to the end of the file."""
        position, last = start, self.size if end is None else min(end, self.size)
        parts: list[bytes] = []
        with _reporting(self.path):
            while position < last and (part := os.pread(self._file.fileno(), last - position, position)):
                parts.append(part)
                position += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


class DirectoryContentStore:
    """The content files below one directory. Safe for several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        """Create the directories below `root` where they are missing."""
        self._root = root
        self._content = root / "content"
        self._thumbnails = root / "thumbnails"
        self._incoming = root / "incoming"
        with _reporting(root):
            for directory in (self._content, self._thumbnails, self._incoming):
                directory.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            sync_directory(root)

    def open(self, sha256: str, kind: ContentKind) -> DirectoryContent:
        """Open a file; FileNotFoundError if there is none, or an empty one."""
        path = self._path(sha256, kind)
        with _reporting(self._root, passing=FileNotFoundError):
            return DirectoryContent(path, path.parent.parent)

    def stat(self, sha256: str, kind: ContentKind) -> ContentStat | None:
        """Return what is known of a file without opening it; None if there is none, or an empty one."""
        path = self._path(sha256, kind)
        with _reporting(self._root):
            status = _status(path)
        return ContentStat(status.st_size, status.st_mtime) if status is not None and status.st_size else None

    def location(self, sha256: str, kind: ContentKind) -> str:
        """Return the path of a file, for people."""
        return str(self._path(sha256, kind))

    def signed_url(self, sha256: str, kind: ContentKind, seconds: int, headers: Mapping[str, str]) -> None:
        """Return nothing: nobody else can read files of this machine."""
        self._path(sha256, kind)

    def put_many(self, items: Mapping[str, tuple[bytes | None, bytes | None]]) -> None:
        """Store what is given for each digest; a directory is synchronised once for all."""
        files: dict[Path, bytes] = {}
        for sha256, (content, thumbnail) in items.items():
            if content is not None:
                files[self._path(sha256, "content")] = content
            if thumbnail is not None:
                files[self._path(sha256, "thumbnail")] = thumbnail
        self._write(files)

    def has_copy(self, sha256: str) -> bool:
        """Tell whether the content is there."""
        return self.stat(sha256, "content") is not None

    def delete(self, sha256: str) -> None:
        """Remove content and thumbnail with this digest, if they are there."""
        with _reporting(self._root):
            for path in (self._path(sha256, "content"), self._path(sha256, "thumbnail")):
                if not path.parent.is_symlink():
                    path.unlink(missing_ok=True)

    def set_aside(self, sha256: str, kind: ContentKind) -> None:
        """Move a damaged file into the folder `damaged`."""
        path = self._path(sha256, kind)
        damaged = self._root / "damaged"
        with _reporting(self._root):
            if _status(path) is None:
                return
            damaged.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            path.replace(damaged / path.name)
            sync_directory(damaged)
            sync_directory(path.parent)

    def stored_before(self, timestamp: float) -> Iterator[str]:
        """Yield the digests of which a file was last written before `timestamp` (seconds since the epoch).

        A digest may come twice, for its content and for its thumbnail.
        """
        for top in (self._content, self._thumbnails):
            for path in _files(top):
                sha256 = path.name.removesuffix(".jpg")
                if _SHA256.fullmatch(sha256) and older(path, timestamp):
                    yield sha256

    def is_empty(self) -> bool:
        """Tell whether there is nothing at all: images in place have a thumbnail at most."""
        return next(chain(_files(self._content), _files(self._thumbnails)), None) is None

    def engine(self) -> None:
        """Return nothing: there is none."""

    def sweep_unfinished(self, timestamp: float) -> int:
        """Remove half-written files that were last written before `timestamp`: their writers died."""
        return remove_unfinished(self._incoming, timestamp)

    def _path(self, sha256: str, kind: ContentKind) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"Not a SHA-256 in lower-case hexadecimal: {sha256!r}")
        if kind == "content":
            return self._content / sha256[:2] / sha256
        return self._thumbnails / sha256[:2] / f"{sha256}.jpg"

    def _write(self, files: Mapping[Path, bytes]) -> None:
        """Write the files that are not there yet. All of them are on the disk when this returns."""
        with _reporting(self._root):
            directories = {path.parent for path in files}
            for directory in directories:
                directory.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
                if directory.is_symlink():
                    raise StorageFailed(directory, "it is a link, which could lead anywhere; replace it by a folder")
            missing = {path: data for path, data in files.items() if not _present(path, len(data))}
            # What is there already counts as well: whoever made it may not have come to synchronising it yet.
            write_all(missing, directories | {directory.parent for directory in directories}, self._incoming)


def _present(path: Path, size: int) -> bool:
    """Tell whether the file is complete, and if so mark it as just written: no sweep takes it then."""
    status = _status(path)
    if status is None or status.st_size != size:
        return False
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a regular file in a real folder; None if there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) and not path.parent.is_symlink() else None


def _files(top: Path) -> Iterator[Path]:
    for directory in top.iterdir():
        if directory.is_dir() and not directory.is_symlink():
            yield from directory.iterdir()


@contextmanager
def _reporting(root: Path, passing: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Turn what the disk refuses into StorageFailed, but for errors of the class `passing`."""
    try:
        yield
    except passing:
        raise
    except OSError as error:
        path = Path(error.filename) if isinstance(error.filename, str) else root
        raise StorageFailed(path, error.strerror or str(error)) from error
