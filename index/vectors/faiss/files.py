"""The files of a vector index: a cache that may be deleted, and is believed only if provably of this catalog.

    index/TARGET/manifest.json   what belongs to the index, replaced in one step: a kill leaves the one before or after
    index/TARGET/NAME.codec      a trained codec
    index/TARGET/NAME.segment    encoded vectors with rising keys: their keys, lists, codes and rows, never changed
    index/TARGET/SPACE.queries   vectors of texts, to train and to measure with
    index/TARGET/lock            held by the one process that builds

Codecs and segments are named in the manifest with their SHA-256. Queries only tune and measure.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import mmap
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.atomic_files import PRIVATE_FILE, PRIVATE_FOLDER, remove_unfinished, sync_directory, write_atomically
from index.types import Space, Vectors

if TYPE_CHECKING:
    from index.vectors.faiss.codec import Codec, Encoded
    from index.vectors.faiss.manifest import Manifest, SegmentEntry

MANIFEST = "manifest.json"
_LOCK = "lock"
_GRACE = 3600.0  # seconds after which an unfinished file has no writer any more

_log = logging.getLogger(__name__)


class IndexFolder:
    """The folder of the index of one collection. What is damaged reads as missing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _make(self) -> None:
        for folder in (self.path.parent, self.path):
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)

    def version(self) -> tuple[int, int] | None:
        """Return what changes whenever the manifest is replaced; None if there is none."""
        try:
            stat = (self.path / MANIFEST).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def manifest(self) -> Manifest | None:
        """Return the manifest; None if there is none that can be read."""
        try:
            data = (self.path / MANIFEST).read_bytes()
            from index.vectors.faiss.manifest import Manifest  # small libraries have none

            return Manifest.model_validate_json(data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("The vector index in %s cannot be read; it is rebuilt from the catalog: %s", self.path, error)
            return None

    def commit(self, manifest: Manifest) -> None:
        """Make this the manifest; durable on return."""
        write_atomically(self.path / MANIFEST, [manifest.model_dump_json(indent=1).encode()], self.path)
        sync_directory(self.path)

    def discard(self) -> None:
        """Let there be no index."""
        with suppress(NotADirectoryError):
            (self.path / MANIFEST).unlink(missing_ok=True)

    def write_codec(self, codec: Codec) -> str:
        """Store a codec; return its SHA-256."""
        data = codec.serialize()
        write_atomically(self.path / f"{codec.name}.codec", [data], self.path)
        return hashlib.sha256(data).hexdigest()

    def read_codec(self, manifest: Manifest) -> Codec | None:
        """Return the codec of the manifest; None if it is damaged or gone."""
        from index.vectors.faiss.codec import Codec

        try:
            data = (self.path / f"{manifest.codec}.codec").read_bytes()
            if hashlib.sha256(data).hexdigest() != manifest.codec_sha256:
                raise ValueError("its SHA-256 is another one")
            codec = Codec.deserialize(data)
            if codec.dimension != manifest.dimension:
                raise ValueError("it is of another dimension")
        except (OSError, ValueError, KeyError) as error:
            _log.warning("The vector index in %s is damaged; it is rebuilt from the catalog: %s", self.path, error)
            return None
        return codec

    def write_segment(self, encoded: Encoded) -> SegmentEntry:
        """Store encoded vectors with rising keys."""
        from index.vectors.faiss.manifest import SegmentEntry

        arrays = (encoded.keys, encoded.lists, encoded.codes, encoded.rows)
        parts = [np.ascontiguousarray(array).data.cast("B") for array in arrays if array.size]
        sha256 = hashlib.sha256()
        for part in parts:
            sha256.update(part)
        entry = SegmentEntry(
            file=f"{secrets.token_hex(8)}.segment",
            sha256=sha256.hexdigest(),
            count=len(encoded),
            code_size=encoded.codes.shape[1],
            row_size=encoded.rows.shape[1],
        )
        write_atomically(self.path / entry.file, parts, self.path)
        return entry

    def read_segment(self, entry: SegmentEntry, lists: int) -> Encoded | None:
        """Return keys, lists, codes and rows, mapped from the file; None if it is damaged or gone."""
        from index.vectors.faiss.codec import Encoded

        count, width, row = entry.count, entry.code_size, entry.row_size
        try:
            with (self.path / entry.file).open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if count else b""
            if len(data) != count * (8 + 2 + width + row) or hashlib.sha256(data).hexdigest() != entry.sha256:
                raise ValueError("its SHA-256 is another one")
            keys = np.frombuffer(data, dtype=np.int64, count=count)
            numbers = np.frombuffer(data, dtype=np.uint16, count=count, offset=8 * count)
            codes = np.frombuffer(data, np.uint8, count * width, offset=10 * count).reshape(count, width)
            rows = np.frombuffer(data, np.int8, count * row, offset=(10 + width) * count).reshape(count, row)
            if count and int(numbers.max()) >= lists:
                raise ValueError("it is of another codec")
        except (OSError, ValueError) as error:
            _log.warning("The vector index in %s is damaged; it is rebuilt from the catalog: %s", self.path, error)
            return None
        return Encoded(keys, numbers, codes, rows)

    def write_queries(self, space: Space, queries: Vectors) -> None:
        """Keep vectors of texts (n, D) of a space, to train and measure with."""
        self._make()
        buffer = io.BytesIO()
        np.save(buffer, queries.astype(np.float32))
        write_atomically(self._queries(space), [buffer.getvalue()], self.path)

    def has_queries(self, space: Space) -> bool:
        """Tell whether there are vectors of texts of this space."""
        return self._queries(space).exists() and self.queries(space) is not None

    def queries(self, space: Space) -> Vectors | None:
        """Return the vectors of texts (n, D) of this space, if there are some."""
        try:
            queries: Vectors = np.load(self._queries(space), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return queries if queries.ndim == 2 and queries.shape[1] == space.dimension and len(queries) else None

    def _queries(self, space: Space) -> Path:
        return self.path / f"{space.id[:16]}.queries"

    def sweep(self, manifest: Manifest | None) -> None:
        """Remove the files that this manifest does not name. For whoever holds the lock."""
        named = {entry.file for entry in manifest.segments} | {f"{manifest.codec}.codec"} if manifest else set()
        for path in [*self.path.glob("*.segment"), *self.path.glob("*.codec")]:
            if path.name not in named:
                path.unlink(missing_ok=True)
        remove_unfinished(self.path, time.time() - _GRACE)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Be the one who builds; the context gets False if somebody else is. A kill lets go of it."""
        self._make()
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            held = False
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            yield held
        finally:
            os.close(descriptor)
