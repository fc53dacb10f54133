"""Keeping records and files together: sweeping files that no record names, finding records without a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from index.content import digest
from index.errors import LibraryError, RecordNotFound
from index.interfaces import Catalog, ContentStore
from index.types import ImageRecord

ORPHAN_GRACE = 3600.0
"""Seconds after which a file that no record names has no writer any more that might yet name it."""

_BATCH = 1000
_log = logging.getLogger(__name__)


def sweep(catalog: Catalog, content: ContentStore, grace: float = ORPHAN_GRACE) -> int:
    """Remove what writers that died left behind over `grace` seconds ago; return how many orphans.

    Files are written before their records, so a young one may belong to a record that is about to be written.
    """
    before = time.time() - grace
    content.sweep_incoming(before)
    names = list(dict.fromkeys(content.stored_before(before)))
    orphans = catalog.images.unknown(names)
    if orphans:
        remove(catalog, content, orphans)
        _log.info("Removed %d content files that no image names.", len(orphans))
    return len(orphans)


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


def content_problems(catalog: Catalog, content: ContentStore, deep: bool) -> list[str]:
    """Return the images whose files are missing or of the wrong size; with `deep`, or content."""
    found: list[str] = []
    before: int | None = None
    while page := catalog.images.page(before, _BATCH, {}):
        before = page[-1][0]
        for _, record in page:
            problem = _problem(content, record, deep)
            if problem and _exists(catalog, record):
                found.append(f"images: {record.id} {problem}")
    return found


def _problem(content: ContentStore, record: ImageRecord, deep: bool) -> str | None:
    path, thumbnail = content.path(record.sha256), content.thumbnail_path(record.sha256)
    try:
        size = path.stat().st_size
        if size != record.size:
            return f"has {size} bytes of content in {path} instead of {record.size}"
        if deep and digest(content.read(record.sha256)) != record.sha256:
            return f"has other content in {path} than was stored"
    except FileNotFoundError:
        return f"lacks its content {path}"
    return None if thumbnail.exists() else f"lacks its thumbnail {thumbnail}"


def _exists(catalog: Catalog, record: ImageRecord) -> bool:
    """Tell whether the record is still there: its file may be missing because it was just deleted."""
    try:
        catalog.images.get(record.id)
    except RecordNotFound:
        return False
    return True
