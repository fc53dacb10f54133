"""What there is to do in sources: folders, prefixes of S3, and single files, as pieces of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from app.ingest.bulk import s3
from app.ingest.bulk.errors import BulkError
from app.ingest.bulk.work_units import (
    FILES_A_PIECE,
    PARQUET_ENDINGS,
    PART_BYTES,
    TAR_ENDINGS,
    Files,
    Parquet,
    Piece,
    Tar,
)
from app.ingest.folders import PICTURE_ENDINGS, Folders, reason_to_leave_out

_COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


class Listing:
    """The pieces of work in some sources, found while it is iterated over.

    In folders and below prefixes of S3, images, Parquet and tar files are taken; what else is skipped or left out is as
    in `Folders`.
    """

    def __init__(
        self,
        sources: Sequence[str],
        column: str | None,
        *,
        without: Path,
        without_url: str | None,
        on_error: Callable[[str, str], None],
        on_left_out: Callable[[str, str], None],
    ) -> None:
        """`without` and `without_url` are where the library has its own files; `column` is for Parquet files.

        `on_error` is told of folders that cannot be read, and why, `on_left_out` of those without photographs.
        BulkError for sources that make no sense.
        """
        self.images: int | None = None
        """How many images there are; None until that is known, or if there are archives, which do not say."""
        self._sources = [source if is_url(source) else str(Path(source).absolute()) for source in sources]
        self._column = column
        self._on_left_out = on_left_out
        self._without_url = None if without_url is None else f"{without_url.rstrip('/')}/"
        self._folders = Folders(
            [Path(source) for source in self._sources if not is_url(source)],
            without=without,
            also=PARQUET_ENDINGS | TAR_ENDINGS,
            on_error=lambda path, error: on_error(str(path), f"The folder cannot be read: {error.strerror}."),
            on_left_out=lambda path, reason: on_left_out(str(path), reason),
        )
        self._skipped: Counter[str] = Counter()
        for source in self._sources:
            if source.lower().endswith(_COMPRESSED):
                raise BulkError("invalid_request", f"{source} is compressed. Decompress it to a plain .tar file first.")
            if is_url(source) and next(s3.listing(source), None) is None:
                raise BulkError("invalid_request", f"There is nothing at {source}.")

    @property
    def folders(self) -> tuple[str, ...]:
        """The sources that every node has to see."""
        return tuple(source for source in self._sources if not is_url(source))

    @property
    def skipped(self) -> Counter[str]:
        """How many files of each ending were passed by as no images; grows with the iteration."""
        return self._folders.skipped + self._skipped

    def __iter__(self) -> Iterator[Piece]:
        """The pieces, in the order of the sources. BulkError."""
        images: list[str] = []
        count: int | None = 0
        for path, size in self._files():
            ending = PurePosixPath(path).suffix.lower()
            if ending in TAR_ENDINGS:
                count = None
                yield Tar(path)
            elif ending in PARQUET_ENDINGS:
                count = None
                parts = max(1, -(-size() // PART_BYTES))
                yield from (Parquet(path, self._column, part, parts) for part in range(parts))
            else:
                images.append(path)
                if count is not None:
                    count += 1
                if len(images) == FILES_A_PIECE:
                    yield Files(tuple(images))
                    images.clear()
        if images:
            yield Files(tuple(images))
        self.images = count

    def _files(self) -> Iterator[tuple[str, Callable[[], int]]]:
        """Paths and URLs of files, each with what tells its size."""
        for path in self._folders:
            yield str(path), partial(_size, path)
        for source in self._sources:
            if is_url(source):
                yield from self._objects(source)

    def _objects(self, source: str) -> Iterator[tuple[str, Callable[[], int]]]:
        left_out: set[str] = set()
        for url, size in s3.listing(source):
            if self._without_url is not None and url.startswith(self._without_url):
                continue
            folders = url[len(source) :].strip("/").split("/")
            name = folders.pop()
            if any(one.startswith(".") for one in (*folders, name)):
                continue
            reasons = {folder: reason for folder in folders if (reason := reason_to_leave_out(folder)) is not None}
            for folder, reason in reasons.items():
                place = f"{url.partition(f'/{folder}/')[0]}/{folder}"
                if place not in left_out:
                    left_out.add(place)
                    self._on_left_out(place, reason)
            if reasons:
                continue
            ending = PurePosixPath(url).suffix.lower()
            if url == source or not ending or ending in PICTURE_ENDINGS | PARQUET_ENDINGS | TAR_ENDINGS:
                yield url, partial(int, size)
            else:
                self._skipped[ending] += 1


def is_url(source: str) -> bool:
    """Whether a source is on S3."""
    return source.startswith(s3.SCHEME)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # whoever reads it says so
        return 0
