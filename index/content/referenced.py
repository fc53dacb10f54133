"""A content store for images that stay where their owner keeps them: only thumbnails, and copies, are its own.

Where a content is, the catalog says: a path below the root of a source, and what the file looked like when it was read.
Nobody else chooses paths. A file is opened from the root down, folder by folder, without following a link anywhere, so
that nothing outside the root can be reached. What is opened has to look as it did, or else have the same SHA-256: a
file that was changed is not served as what it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from index.content.safe_open import open_below
from index.errors import StorageFailed
from index.interfaces import ContentStat, ContentStore
from index.types import Content, ContentKind, EngineState, Location, Signature

Locate = Callable[[str], Sequence[Location]]
"""Tells where files with this SHA-256 were last seen."""

_CHUNK = 1 << 20


def signature_of(status: os.stat_result) -> Signature:
    """Return what tells whether a file is still the same. Inodes are made to fit into 64 bits with a sign."""
    inode = status.st_ino
    return Signature(status.st_size, status.st_mtime_ns, inode - 2**64 if inode >= 2**63 else inode)


class ReferencedContent:
    """A file of a source that is open; see `Content` for what each method promises. Thread-safe."""

    def __init__(self, location: Location) -> None:
        """Open the file; FileNotFoundError if it is not there, or empty."""
        self.path = Path(location.root, location.path)
        try:
            self._descriptor = open_below(location.root, location.path)
        except FileNotFoundError:
            raise
        except OSError as error:  # a link, a folder that cannot be read, a disk that is gone: not there for us
            raise FileNotFoundError(error.errno, error.strerror, str(self.path)) from error
        self.signature = signature_of(os.fstat(self._descriptor))
        self.size = self.signature.size
        self.modified = self.signature.mtime_ns / 1e9
        if not self.size:
            self.close()
            raise FileNotFoundError(f"{self.path} is empty")

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to `end`, or up to the end of the file; StorageFailed if it was changed."""
        position, last = start, self.size if end is None else min(end, self.size)
        parts: list[bytes] = []
        try:
            while position < last and (part := os.pread(self._descriptor, last - position, position)):
                parts.append(part)
                position += len(part)
            changed = signature_of(os.fstat(self._descriptor)) != self.signature
        except OSError as error:
            raise StorageFailed(self.path, error.strerror or str(error)) from error
        if changed:
            raise StorageFailed(self.path, "the file was changed while it was read")
        return b"".join(parts)

    def digest(self) -> str:
        """Return the SHA-256 of the file in hexadecimal."""
        digest = hashlib.sha256()
        for start in range(0, self.size, _CHUNK):
            digest.update(self.read(start, start + _CHUNK))
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class ReferencedContentStore:
    """A content store that also opens what is in sources; see `ContentStore` for what each method promises."""

    def __init__(self, own: ContentStore, locate: Locate) -> None:
        """Keep thumbnails and copies in `own`, and ask `locate` for everything else."""
        self._own = own
        self._locate = locate

    def open(self, sha256: str, kind: ContentKind) -> Content:
        """Open a copy, or else a file of a source that still has this content; FileNotFoundError."""
        try:
            return self._own.open(sha256, kind)
        except FileNotFoundError:
            if kind == "thumbnail":
                raise
        for location in self._locate(sha256):
            with suppress(FileNotFoundError):
                return _open_unchanged(location, sha256)
        raise FileNotFoundError(f"No file has the content {sha256}")

    def stat(self, sha256: str, kind: ContentKind) -> ContentStat | None:
        """Return what is known of a copy, or else of a file of a source that looks as it did."""
        known = self._own.stat(sha256, kind)
        if known is not None or kind == "thumbnail":
            return known
        for location in self._locate(sha256):
            with suppress(FileNotFoundError), closing(ReferencedContent(location)) as content:
                if content.signature == location.signature:
                    return ContentStat(content.size, content.modified)
        return None

    def location(self, sha256: str, kind: ContentKind) -> str:
        """Return where a file is, or would be: that in a source if there is no copy."""
        if kind == "content" and not self._own.has_copy(sha256):
            for location in self._locate(sha256):
                return str(Path(location.root, location.path))
        return self._own.location(sha256, kind)

    def signed_url(self, sha256: str, kind: ContentKind, seconds: int, headers: Mapping[str, str]) -> str | None:
        """Return a URL of a copy, or of a thumbnail, if there is one."""
        return self._own.signed_url(sha256, kind, seconds, headers)

    def put_many(self, items: Mapping[str, tuple[bytes | None, bytes | None]]) -> None:
        """Store thumbnails and contents where they are given."""
        self._own.put_many(items)

    def has_copy(self, sha256: str) -> bool:
        """Tell whether there is a copy."""
        return self._own.has_copy(sha256)

    def delete(self, sha256: str) -> None:
        """Remove copy and thumbnail. Files of sources are their owner's."""
        self._own.delete(sha256)

    def set_aside(self, sha256: str, kind: ContentKind) -> None:
        """Move a damaged copy or thumbnail away. Files of sources are their owner's."""
        self._own.set_aside(sha256, kind)

    def stored_before(self, timestamp: float) -> Iterator[str]:
        """Yield the digests of copies and thumbnails last written before `timestamp`."""
        return self._own.stored_before(timestamp)

    def sweep_unfinished(self, timestamp: float) -> int:
        """Remove what dead writers left unfinished; return how many files that was."""
        return self._own.sweep_unfinished(timestamp)

    def engine(self) -> EngineState | None:
        """Return how the store of copies does."""
        return self._own.engine()

    def is_empty(self) -> bool:
        """Tell whether there is neither a copy nor a thumbnail."""
        return self._own.is_empty()


def _open_unchanged(location: Location, sha256: str) -> ReferencedContent:
    """Open a file of a source; FileNotFoundError if it has another content by now."""
    content = ReferencedContent(location)
    try:
        if content.signature != location.signature and content.digest() != sha256:
            raise FileNotFoundError(f"{content.path} was changed")
    except BaseException:
        content.close()
        raise
    return content
