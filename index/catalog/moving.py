"""What moves into a catalog, and out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from index.catalog import schema
from index.catalog.database import Database
from index.types import Space

if TYPE_CHECKING:  # whoever moves nothing needs none of this
    from index.catalog.export_rows import SqlSnapshot
    from index.types.moving import Part, Taken


class SqlMoving:
    """Moving a catalog; see `MovingStore` for what each method promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def snapshot(self) -> Iterator[SqlSnapshot]:
        """Give the catalog as it is now."""
        from index.catalog.export_rows import SqlSnapshot

        with self._database.read() as connection:
            yield SqlSnapshot(connection, self._database.location)

    def take(self, part: Part, space: Space, before_insert: Callable[[list[str]], None]) -> Taken:
        """Take over a part in one transaction."""
        from index.catalog.import_rows import take

        def transaction(connection: Connection) -> Taken:
            schema.require_space(connection, space)
            return take(connection, part, before_insert)

        return self._database.write(transaction)
