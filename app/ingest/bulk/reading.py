"""From a piece of work to the files in it: one after another, each within the limits, whatever the archive says."""

from __future__ import annotations

import io
import itertools
import tarfile
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from app.ingest.bulk import s3
from app.ingest.bulk.work_units import Files, Parquet, Piece, Tar
from app.ingest.files import FileUnreadError, read_file
from app.ingest.folders import PICTURE_ENDINGS, begins_as_picture
from app.ingest.pipeline import IncomingFile

ARCHIVE = "archive_unreadable"
"""The code of an archive that is damaged, or has no images where they should be."""

_AHEAD = 4
"""Files that are read at the same time: storage over a network takes its time to begin."""
_HEADER = 1 << 20
"""Bytes that tarfile may read at once: names and extended headers. Members are read here."""


class PieceFile(NamedTuple):
    """A file of a piece: what it is called for people, and its bytes, or why there are none."""

    path: str
    file: IncomingFile


class PieceReader:
    """Reads the files of a piece, in an order that is always the same."""

    def __init__(self, piece: Piece, max_bytes: int) -> None:
        self.skipped: Counter[str] = Counter()
        """How many files of each ending were passed by as no images; grows with the iteration."""
        self._piece = piece
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[PieceFile]:
        """BulkError if the storage is away; a file that cannot be read comes with its reason instead of bytes."""
        match self._piece:
            case Files(paths):
                yield from self._files(paths)
            case Tar(path):
                yield from self._tar(path)
            case Parquet() as parquet:
                yield from self._parquet(parquet)

    def _files(self, paths: tuple[str, ...]) -> Iterator[PieceFile]:
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="visem-read") as pool:
            rest = iter(paths)
            reading: deque[tuple[str, Future[bytes | FileUnreadError]]] = deque()
            try:
                while True:
                    for path in itertools.islice(rest, _AHEAD - len(reading)):
                        reading.append((path, pool.submit(self._read, path)))
                    if not reading:
                        return
                    path, future = reading.popleft()
                    data = future.result()
                    named = Path(path)
                    # The first bytes decide on a file without an ending; S3 lists none of them.
                    if not named.suffix and isinstance(data, bytes) and not begins_as_picture(data):
                        self.skipped[""] += 1
                    else:
                        yield PieceFile(path, IncomingFile(named.name, data))
            finally:
                for _, future in reading:
                    future.cancel()

    def _read(self, path: str) -> bytes | FileUnreadError:
        try:
            if path.startswith(s3.SCHEME):
                return s3.read(path, self._max_bytes)
            return read_file(Path(path), self._max_bytes)
        except FileUnreadError as error:
            return error

    def _tar(self, path: str) -> Iterator[PieceFile]:
        number = 0
        try:
            with closing(open_file(path)) as opened, _open_tar(opened) as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # or they would all stay in memory
                    if member.isfile():
                        number += 1
                        yield from self._member(path, opened, member)
                opened.seek(archive.offset)  # for tarfile a damaged header is an end like any other
                if opened.read(tarfile.BLOCKSIZE).strip(b"\0"):
                    raise tarfile.ReadError("a header is damaged")
        except FileUnreadError as error:
            yield _bad(path, error)
        except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
            after = f" after {number:,} files, which were taken" if number else ""
            yield _bad(path, FileUnreadError(ARCHIVE, f"The tar file is damaged{after}: {error}. Pack it anew."))

    def _member(self, archive: str, opened: BinaryIO, member: tarfile.TarInfo) -> Iterator[PieceFile]:
        name = PurePosixPath(member.name).name
        ending = PurePosixPath(name).suffix.lower()
        if (ending and ending not in PICTURE_ENDINGS) or name.startswith("."):
            self.skipped[ending] += 1
            return
        path = f"{archive}#{member.name}"
        if member.issparse():
            yield _bad(
                path, FileUnreadError("file_unreadable", "The file is stored with holes. Pack it without --sparse.")
            )
            return
        if member.size > self._max_bytes:
            yield _bad(path, FileUnreadError.too_large(member.size, self._max_bytes))
            return
        opened.seek(member.offset_data)
        data = opened.read(member.size)
        if len(data) < member.size:
            raise tarfile.ReadError("it ends too early")
        if not ending and not begins_as_picture(data):
            self.skipped[ending] += 1
            return
        yield PieceFile(path, IncomingFile(name, data))

    def _parquet(self, piece: Parquet) -> Iterator[PieceFile]:
        from app.ingest.bulk.parquet import Rows

        try:
            with closing(open_file(piece.path)) as opened, closing(Rows(opened, piece, self._max_bytes)) as rows:
                for row in rows:
                    path = f"{piece.path}#{row.number}"
                    if row.path is not None:
                        path, found = self._referenced(piece.path, row.path)
                        yield PieceFile(path, IncomingFile(row.name, found))
                    else:
                        yield PieceFile(path, IncomingFile(row.name, row.data))
        except FileUnreadError as error:
            yield _bad(piece.path, error)

    def _referenced(self, parquet: str, name: str) -> tuple[str, bytes | FileUnreadError]:
        """The file that a row names: below the folder of the Parquet file, or it is refused."""
        outside = FileUnreadError(
            "file_unreadable", f"The row names {name}, which is not below the Parquet file's folder."
        )
        if parquet.startswith(s3.SCHEME):
            below = parquet.rpartition("/")[0] + "/"
            path = name if name.startswith(s3.SCHEME) else below + name
            if not path.startswith(below) or ".." in path.split("/"):
                return path, outside
        else:
            folder = Path(parquet).parent
            path = str(folder / name)
            try:
                if "\0" in name or not Path(path).resolve().is_relative_to(folder.resolve()):
                    return path, outside
            except (OSError, RuntimeError):  # a loop of links, or a name that no file can have
                return path, outside
        return path, self._read(path)


def open_file(path: str) -> BinaryIO:
    """A file that is open for reading, with a position. FileUnreadError, BulkError."""
    if path.startswith(s3.SCHEME):
        return cast(BinaryIO, io.BufferedReader(s3.S3File(path), 1 << 18))
    try:
        if not Path(path).is_file():  # opening a pipe would wait for ever
            raise FileUnreadError("file_unreadable", "This is not a file.")
        return Path(path).open("rb")
    except OSError as error:
        raise FileUnreadError("file_unreadable", f"The file cannot be read: {error.strerror}.") from error


def _open_tar(file: BinaryIO) -> Any:
    bounded: Any = _Bounded(file)
    return tarfile.open(fileobj=bounded, mode="r:")


class _Bounded:
    """What tarfile reads from: a header that claims to be huge does not fill the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER:
            raise tarfile.ReadError(f"a header claims to have {size:,} bytes")
        return self._file.read(size)


def _bad(path: str, error: FileUnreadError) -> PieceFile:
    return PieceFile(path, IncomingFile(PurePosixPath(path).name, error))
