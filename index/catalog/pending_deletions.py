"""Deletions that can still be undone, kept in the catalog so that every process knows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from index.catalog import relations, schema
from index.catalog.collection import SqlCollection
from index.catalog.database import Database
from index.catalog.rows import select_in
from index.catalog.times import microseconds, moment
from index.errors import RecordNotFound
from index.types import ImageRecord, PendingDeletion


class SqlPendingDeletions:
    """The deletions that can be undone; see `PendingDeletions` for what each method promises."""

    def __init__(self, database: Database, images: SqlCollection[ImageRecord]) -> None:
        self._database = database
        self._images = images

    def schedule(self, image_id: str, due: datetime) -> None:
        """Let an image be deleted from `due` on; RecordNotFound."""
        table = schema.pending_deletions

        def transaction(connection: Connection) -> None:
            key = self._images.row(connection, image_id)["key"]
            connection.execute(delete(table).where(table.c.image == key))
            connection.execute(table.insert().values(image=key, due=microseconds(due)))

        self._database.write(transaction)

    def postpone(self, before: datetime, due: datetime) -> list[str]:
        """Let what was due by `before` be due from `due` on; return the ids of those images."""
        table, images = schema.pending_deletions, schema.images
        late = table.c.due <= microseconds(before)
        query = select(images.c.id).join(table, images.c.key == table.c.image).where(late)

        def transaction(connection: Connection) -> list[str]:
            ids = list(connection.execute(query).scalars())
            connection.execute(update(table).where(late).values(due=microseconds(due)))
            return ids

        with self._database.read() as connection:
            if connection.execute(query.limit(1)).first() is None:  # without waiting for whoever writes
                return []
        return self._database.write(transaction)

    def cancel(self, image_ids: Sequence[str]) -> list[str]:
        """Keep these images after all; return the ids of those that were pending."""
        table = schema.pending_deletions

        def find(connection: Connection) -> dict[int, str]:
            if connection.execute(select(table.c.image).limit(1)).first() is None:
                return {}
            columns = [schema.images.c.key, schema.images.c.id]
            ids = {row["key"]: row["id"] for row in select_in(connection, columns, schema.images.c.id, image_ids)}
            return {
                row["image"]: ids[row["image"]] for row in select_in(connection, [table.c.image], table.c.image, [*ids])
            }

        def transaction(connection: Connection) -> list[str]:
            found = find(connection)
            for key in found:
                connection.execute(delete(table).where(table.c.image == key))
            return list(found.values())

        with self._database.read() as connection:
            if not find(connection):  # without waiting for whoever writes
                return []
        return self._database.write(transaction)

    def all(self) -> list[PendingDeletion]:
        """Return what is pending, the first due first."""
        table, images = schema.pending_deletions, schema.images
        query = (
            select(images.c.id, images.c.filename, table.c.due)
            .join(images, images.c.key == table.c.image)
            .order_by(table.c.due, table.c.image)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [PendingDeletion(row.id, row.filename, moment(row.due)) for row in rows]

    def carry_out(self, image_id: str, until: datetime) -> ImageRecord | None:
        """Delete an image if its deletion is pending and due by `until`; None if it is not."""
        table = schema.pending_deletions

        def transaction(connection: Connection) -> ImageRecord | None:
            try:
                row = self._images.row(connection, image_id)
            except RecordNotFound:
                return None
            due = (table.c.image == row["key"]) & (table.c.due <= microseconds(until))
            if connection.execute(select(table.c.image).where(due)).first() is None:
                return None
            relations.remove_images(connection, [row["key"]])
            return self._images.record(row)

        return self._database.write(transaction)
