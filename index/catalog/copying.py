"""Copying a catalog while others work with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from index.catalog import schema
from index.catalog.sqlite import SqliteDatabase
from index.thumbnails import keeps_thumbnail


class StoredFiles(NamedTuple):
    """Which files of an image have to be in the content store; others may be."""

    content: bool
    thumbnail: bool


def copy_catalog(source: Path, target: Path, hold: Callable[[Mapping[str, StoredFiles]], None]) -> tuple[int, int]:
    """Copy a catalog of the present version, and return how many images and sentences are in the copy.

    Nobody can write meanwhile, nor while `hold` runs: it gets the SHA-256 of every image, and which files there have to
    be of it. LibraryBusy, StorageFailed, CatalogCorrupted.
    """
    images, in_place = schema.images, schema.images_in_place

    def transaction(connection: Connection) -> tuple[int, int]:
        rows = connection.execute(
            select(
                images.c.sha256, in_place.c.image.is_(None), images.c.width, images.c.height, images.c.size
            ).outerjoin(in_place, in_place.c.image == images.c.key)
        ).all()
        with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
            reading.backup(writing)
        hold({sha256: StoredFiles(bool(own), keeps_thumbnail(*shape)) for sha256, own, *shape in rows})
        sentences = connection.execute(select(func.count()).select_from(schema.sentences)).scalar_one()
        return len(rows), sentences

    with closing(SqliteDatabase(source)) as database:
        return database.write(transaction)
