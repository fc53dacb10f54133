"""Keeping records and files together: sweeping files that no record names, finding records without a file."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from index.errors import LibraryError, RecordNotFound
from index.interfaces import Catalog, ContentStore, Spot
from index.thumbnails import is_damaged, keeps_thumbnail
from index.types import ContentKind, ImageRecord

ORPHAN_GRACE = 3600.0
"""Seconds after which a file that no record names has no writer any more that might yet name it."""

YOUNG = 60.0
"""Seconds for which a file that no record names is expected to be named yet, and no check complains."""

_BATCH = 1000
_log = logging.getLogger(__name__)


def orphans(catalog: Catalog, content: ContentStore, grace: float = ORPHAN_GRACE) -> Iterator[list[str]]:
    """Yield, for some files at a time, the digests of those over `grace` seconds old that no record names.

    Files are written before their records, so a young one may belong to a record that is about to be written.
    """
    stored = content.stored_before(time.time() - grace)
    while names := list(dict.fromkeys(islice(stored, _BATCH))):
        yield catalog.images.unknown(names)


def remove(catalog: Catalog, content: ContentStore, names: Sequence[str]) -> None:
    """Remove the files with these digests, except those that a record names, by now or again."""

    def delete(unnamed: list[str]) -> None:
        for sha256 in unnamed:
            content.delete(sha256)

    catalog.images.release(names, delete)


def try_remove(catalog: Catalog, content: ContentStore, names: Sequence[str]) -> None:
    """Remove the files of deleted records. Should it fail, the next sweep does it."""
    try:
        remove(catalog, content, names)
    except LibraryError as error:
        _log.warning("Content of deleted images is left for the next sweep: %s", error)


def adopt_pending_deletions(root: Path, catalog: Catalog) -> None:
    """Take over the deletions that could still be undone when an earlier version stopped: empty files in a folder.

    They are due now; whoever carries deletions out says for how long they can be undone. The files of a second folder,
    for images whose captions were to go, are not needed: the migration of the catalog removes such captions.
    """
    due = datetime.now(UTC)
    for file in _files_of(root / "deleting"):
        with suppress(RecordNotFound):
            catalog.pending.schedule(file.name, due)
    for folder in (root / "deleting", root / "forgetting"):
        for file in _files_of(folder):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or something else is in it
            folder.rmdir()


def remove_snapshots(root: Path) -> None:
    """Remove the vector indexes of earlier versions: a file for each collection, derived from the catalog as well."""
    for snapshot in (root / "index").glob("*.faiss"):
        with suppress(OSError):  # a read-only folder, or a folder of that name: it is in nobody's way
            snapshot.unlink(missing_ok=True)


def _files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def content_problems(catalog: Catalog, content: ContentStore, deep: bool) -> list[str]:
    """Return the images whose files are missing or of the wrong size; `deep` reads them all."""
    found: list[str] = []
    after: Spot | None = None
    while page := catalog.images.page(after, _BATCH, {}):
        after = page[-1][0]
        for _, record in page:
            problem = _problem(content, record, deep)
            if problem and _exists(catalog, record):
                found.append(f"images: {record.id} {problem}")
    return found + (_unnamed(catalog, content) if deep else [])


def _unnamed(catalog: Catalog, content: ContentStore) -> list[str]:
    """Return the files that no image names, but for those so young that somebody may be about to."""
    unnamed = (name for some in orphans(catalog, content, YOUNG) for name in some)
    return [f"{content.location(one, 'content')} belongs to no image" for one in dict.fromkeys(unnamed)]


def is_stored(content: ContentStore, sha256: str, size: int | None, *, thumbnail: bool) -> bool:
    """Tell whether a copy of the content with `size` bytes (None: not needed) and, if needed, a thumbnail are there."""
    if size is not None:
        stored = content.stat(sha256, "content") if content.has_copy(sha256) else None
        if stored is None or stored.size != size:
            return False
    return not thumbnail or content.stat(sha256, "thumbnail") is not None


def _problem(content: ContentStore, record: ImageRecord, deep: bool) -> str | None:
    def where(kind: ContentKind) -> str:  # asks the catalog for images in place: only if something is wrong
        return content.location(record.sha256, kind)

    stored = content.stat(record.sha256, "content")
    if stored is None:
        return f"lacks its content {where('content')}"
    if stored.size != record.size:
        return f"has {stored.size} bytes of content in {where('content')} instead of {record.size}"
    has_thumbnail = content.stat(record.sha256, "thumbnail") is not None
    if not has_thumbnail and keeps_thumbnail(record.width, record.height, record.size):
        return f"lacks its thumbnail {where('thumbnail')}"
    try:
        if deep and hashlib.sha256(_bytes(content, record, "content")).hexdigest() != record.sha256:
            return f"has other content in {where('content')} than was stored"
        if deep and has_thumbnail and is_damaged(_bytes(content, record, "thumbnail")):
            return f"has a damaged thumbnail {where('thumbnail')}"
    except FileNotFoundError:
        return f"lacks its content {where('content')} or its thumbnail {where('thumbnail')}"
    return None


def _bytes(content: ContentStore, record: ImageRecord, kind: ContentKind) -> bytes:
    with closing(content.open(record.sha256, kind)) as opened:
        return opened.read()


def _exists(catalog: Catalog, record: ImageRecord) -> bool:
    """Tell whether the record is still there: its file may be missing because it was just deleted."""
    try:
        catalog.images.get(record.id)
    except RecordNotFound:
        return False
    return True
