"""Content-addressed files: the images as they were given, and a thumbnail of each.

    content/ab/abcd…        the bytes, named by their SHA-256
    thumbnails/ab/abcd….jpg
    incoming/               half-written files; a rename moves them into place

A file is on the disk (fsync of the file, then of its directory) before `put` returns, so that a record
written afterwards can never name a file that a power cut takes away. Paths are derived from validated digests
only.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from index.errors import StorageFailed
from index.files import older, remove_unfinished, sync_directory, write_all

_SHA256 = re.compile(r"[0-9a-f]{64}")


def render_thumbnail(image: Image.Image, size: int = 320) -> bytes:
    """Return `image` as JPEG, its longer side scaled down to `size` pixels, or as it is if smaller.

    WebP would be an eighth smaller, but takes five times as long to write: a tenth of the time of an ingestion.
    """
    thumbnail = image.convert("RGB")  # a copy: the caller's image stays as it is
    thumbnail.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    thumbnail.save(buffer, format="JPEG", quality=82)
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class FileContentStore:
    """The content files below one directory. Safe for several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        """Create the directories below `root` where they are missing."""
        self._root = root
        self._content = root / "content"
        self._thumbnails = root / "thumbnails"
        self._incoming = root / "incoming"
        with _reporting(root):
            for directory in (self._content, self._thumbnails, self._incoming):
                directory.mkdir(parents=True, exist_ok=True)
            sync_directory(root)

    def path(self, sha256: str) -> Path:
        """Return where the content with this digest is, or would be."""
        return self._content / _checked(sha256)[:2] / sha256

    def thumbnail_path(self, sha256: str) -> Path:
        """Return where the thumbnail of the content with this digest is, or would be."""
        return self._thumbnails / _checked(sha256)[:2] / f"{sha256}.jpg"

    def put(self, data: bytes) -> str:
        """Store `data` and return its SHA-256."""
        sha256 = digest(data)
        self._write({self.path(sha256): data})
        return sha256

    def put_many(self, items: Mapping[str, tuple[bytes, bytes]]) -> None:
        """Store content and thumbnail for each digest; a directory is synchronised once for all."""
        files: dict[Path, bytes] = {}
        for sha256, (content, thumbnail) in items.items():
            files[self.path(sha256)] = content
            files[self.thumbnail_path(sha256)] = thumbnail
        self._write(files)

    def put_thumbnail(self, sha256: str, thumbnail: bytes) -> None:
        """Store the thumbnail of the content with this digest."""
        self._write({self.thumbnail_path(sha256): thumbnail})

    def read(self, sha256: str) -> bytes:
        """Return the content with this digest; FileNotFoundError if there is none."""
        return self.path(sha256).read_bytes()

    def delete(self, sha256: str) -> None:
        """Remove content and thumbnail with this digest, if they are there."""
        with _reporting(self._root):
            self.path(sha256).unlink(missing_ok=True)
            self.thumbnail_path(sha256).unlink(missing_ok=True)

    def stored_before(self, timestamp: float) -> Iterator[str]:
        """Yield the digests of which a file was last written before `timestamp` (seconds since the epoch).

        A digest may come twice, for its content and for its thumbnail.
        """
        for top in (self._content, self._thumbnails):
            for path in _files(top):
                sha256 = path.name.removesuffix(".jpg")
                if _SHA256.fullmatch(sha256) and older(path, timestamp):
                    yield sha256

    def has(self, sha256: str) -> bool:
        """Tell whether both content and thumbnail are there."""
        return self.path(sha256).exists() and self.thumbnail_path(sha256).exists()

    def is_empty(self) -> bool:
        """Tell whether there is no content at all."""
        return next(_files(self._content), None) is None

    def sweep_incoming(self, timestamp: float) -> None:
        """Remove half-written files that were last written before `timestamp`: their writers died."""
        remove_unfinished(self._incoming, timestamp)

    def _write(self, files: Mapping[Path, bytes]) -> None:
        """Write the files that are not there yet. All of them are on the disk when this returns."""
        with _reporting(self._root):
            directories = {path.parent for path in files}
            for directory in directories:
                directory.mkdir(exist_ok=True)
            missing = {path: data for path, data in files.items() if not _present(path, len(data))}
            # What is there already counts as well: whoever made it may not have come to synchronising it yet.
            write_all(missing, directories | {directory.parent for directory in directories}, self._incoming)


def _present(path: Path, size: int) -> bool:
    """Tell whether the file is complete, and if so mark it as just written: no sweep takes it then."""
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _files(top: Path) -> Iterator[Path]:
    for directory in top.iterdir():
        if directory.is_dir():
            yield from directory.iterdir()


def _checked(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"Not a SHA-256 in lower-case hexadecimal: {sha256!r}")
    return sha256


@contextmanager
def _reporting(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path = Path(error.filename) if isinstance(error.filename, str) else root
        raise StorageFailed(path, error.strerror or str(error)) from error
