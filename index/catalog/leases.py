"""Leases in the catalog, each a row of `meta`: who has it, and until when."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from index.catalog import schema
from index.catalog.database import Database

_PREFIX = "lease:"


class SqlLeases:
    """Leases by name; see `Leases` for what each method promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, name: str, holder: str, seconds: float) -> bool:
        """Take a lease, or keep it for longer; False if somebody else has it."""
        row = _PREFIX + name

        def transaction(connection: Connection) -> bool:
            now = self._database.now(connection)
            found = _held(connection, row)
            if found is not None and found[0] != holder and now < found[1]:
                return False
            connection.execute(delete(schema.meta).where(schema.meta.c.name == row))
            connection.execute(schema.meta.insert().values(name=row, value=f"{holder} {now + seconds}"))
            return True

        with self._database.read() as connection:  # without waiting for whoever writes
            found = _held(connection, row)
            if found is not None and found[0] != holder and self._database.now(connection) < found[1]:
                return False
        return self._database.write(transaction)

    def release(self, name: str, holder: str) -> None:
        """Give a lease back, if it is the holder's."""
        row = _PREFIX + name

        def transaction(connection: Connection) -> None:
            found = _held(connection, row)
            if found is not None and found[0] == holder:
                connection.execute(delete(schema.meta).where(schema.meta.c.name == row))

        self._database.write(transaction)


def _held(connection: Connection, row: str) -> tuple[str, float] | None:
    """Return who has a lease, and until when."""
    value = connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == row)).scalar()
    if value is None:
        return None
    holder, _, until = str(value).rpartition(" ")
    return holder, float(until)
