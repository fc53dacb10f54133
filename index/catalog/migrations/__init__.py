"""Bringing a catalog of an earlier version up to date, by Alembic.

A revision is named by the schema version that it leads to. `meta` alone says which version a catalog has: Alembic's
own table is there only while it works.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection

from index.catalog import schema

OLDEST = 1
"""The first version that there was."""

_SCRIPTS = Path(__file__).parent
_VERSION_TABLE = "alembic_version"
_log = logging.getLogger(__name__)


def needed(connection: Connection) -> bool:
    """Tell whether `run` has something to do."""
    return _version(connection) in range(OLDEST, schema.SCHEMA_VERSION)


def run(connection: Connection) -> None:
    """Bring the catalog up to date within the transaction of `connection`; nothing else happens to it."""
    version = _version(connection)
    if version not in range(OLDEST, schema.SCHEMA_VERSION):  # another process was faster
        return
    from alembic import command  # takes long to import, and is needed once
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "version_table": _VERSION_TABLE})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.stamp(config, str(version))
    command.upgrade(config, str(schema.SCHEMA_VERSION))
    connection.exec_driver_sql(f"DROP TABLE {_VERSION_TABLE}")
    schema.write_meta(connection, {"schema_version": str(schema.SCHEMA_VERSION)})
    _log.info("The catalog was brought from schema version %s to %s.", version, schema.SCHEMA_VERSION)


def _version(connection: Connection) -> int | None:
    """Return the version of the schema; None if it has none that this code could know."""
    if schema.meta.name not in schema.table_names(connection):
        return None
    version = schema.read_meta(connection).get("schema_version", "")
    return int(version) if version.isdecimal() else None
