"""Mending what a check finds and what can be mended: thumbnails, files without a record, damaged content."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import closing

from index import maintenance
from index.errors import StorageFailed
from index.interfaces import Catalog, ContentStore, Spot
from index.thumbnails import is_damaged, keeps_thumbnail
from index.types import ContentKind, ImageRecord

_HALF_WRITTEN_GRACE = 600.0
_BATCH = 1000

RenderThumbnail = Callable[[bytes], bytes]
"""Makes a thumbnail (JPEG) of a content; ValueError if it cannot."""


def repair(catalog: Catalog, content: ContentStore, render: RenderThumbnail) -> list[str]:
    """Mend what can be mended; return what was done, a sentence each.

    Content that is not what was stored is moved aside, so that adding the image again brings it back.
    """
    done: list[str] = []
    after: Spot | None = None
    while page := catalog.images.page(after, _BATCH, {}):
        after = page[-1][0]
        for _, record in page:
            try:
                done += _repair_image(content, record, render)
            except StorageFailed as error:  # a bad spot on the disk does not keep the others from being mended
                done.append(f"images: {record.id} could not be mended: {error}")
    # Should somebody be about to name one of them, they write it again, within the lock of the catalog.
    stored = list(dict.fromkeys(content.stored_before(time.time() - maintenance.YOUNG)))
    if unnamed := list(catalog.images.unknown(stored)):
        maintenance.remove(catalog, content, unnamed)
        done.append(f"Removed the files of {len(unnamed)} contents that belong to no image.")
    if removed := content.sweep_unfinished(time.time() - _HALF_WRITTEN_GRACE):
        done.append(f"Removed {removed} half-written files.")
    return done


def _repair_image(content: ContentStore, record: ImageRecord, render: RenderThumbnail) -> list[str]:
    data = _read(content, record, "content")
    if data is None:
        return []
    if hashlib.sha256(data).hexdigest() != record.sha256:
        if not content.has_copy(record.sha256):
            where = content.location(record.sha256, "content")
            return [f"images: {record.id}: {where} is damaged. It was left alone, as it is its owner's: restore it."]
        content.set_aside(record.sha256, "content")
        return [f"images: {record.id}: moved its damaged content aside. Add the image again to restore it."]
    thumbnail = _read(content, record, "thumbnail")
    needed = keeps_thumbnail(record.width, record.height, record.size)
    if not needed if thumbnail is None else not is_damaged(thumbnail):
        return []
    if not needed:
        content.set_aside(record.sha256, "thumbnail")
        return [f"images: {record.id}: moved its damaged thumbnail aside. It needs none."]
    try:
        rendered = render(data)
    except ValueError as error:
        return [f"images: {record.id}: no thumbnail could be made: {error}"]
    content.set_aside(record.sha256, "thumbnail")
    content.put_many({record.sha256: (None, rendered)})
    return [f"images: {record.id}: made its thumbnail again."]


def _read(content: ContentStore, record: ImageRecord, kind: ContentKind) -> bytes | None:
    try:
        with closing(content.open(record.sha256, kind)) as opened:
            return opened.read()
    except FileNotFoundError:
        return None
