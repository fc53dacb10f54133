"""The dialect of PostgreSQL; see `dialects`."""

from __future__ import annotations

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from index.catalog.dialects import Alike

POSTGRESQL = "postgresql+visem"


class PostgresDialect(Alike, PGDialect_psycopg):
    """That of PostgreSQL, by psycopg."""

    supports_statement_cache = True


registry.register("postgresql.visem", __name__, PostgresDialect.__name__)
