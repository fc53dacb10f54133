"""Dialects of SQLAlchemy that are equal for every database of their kind.

SQLAlchemy keeps what it compiled for the dialect of an engine, and each engine has one of its own: a process would
compile every statement anew for each library that it opens, and once to read and once to write.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

COMPILED: LRUCache[Any, Any] = LRUCache(500)
"""The statements of this process: the `compiled_cache` of its engines."""

SQLITE = "sqlite+visem"


class Alike(DefaultDialect):
    """One that is equal to all of its class, if their servers are of the same version."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.server_version_info == self.server_version_info

    def __hash__(self) -> int:
        return hash(type(self))


class SqliteDialect(Alike, SQLiteDialect_pysqlite):
    """That of SQLite, by the driver that comes with Python."""

    supports_statement_cache = True


registry.register("sqlite.visem", __name__, SqliteDialect.__name__)
