"""The tables of a catalog, and how a catalog comes to be."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
    select,
    text,
    update,
)

from index.errors import CatalogCorrupted, CatalogUnsupported, SpaceMismatch
from index.interfaces import CatalogState
from index.types import Space, Target

SCHEMA_VERSION = 2
"""What this code reads and writes."""

tables = MetaData()

meta = Table("meta", tables, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""Rows: schema_version, library_id, generation, space_id, space_name, space_dimension, staging_space."""

# The vectors come last in a row: whoever reads the rest never touches the pages that they spill to.
images = Table(
    "images",
    tables,
    Column("key", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("filename", Text),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size", Integer, nullable=False, index=True),  # the index makes the sum cheap
    Column("created_at", Integer, nullable=False),  # microseconds since the epoch, UTC
    Column("metadata", Text, nullable=False),  # JSON
    Column("concepts", Text, nullable=False, server_default="[]"),  # JSON: pairs of word and cosine
    Column("vector", LargeBinary, nullable=False),  # D little-endian float16
    sqlite_autoincrement=True,  # keys are never used again: the changes since a key are those above it
)

Index("ix_images_undescribed", images.c.key, sqlite_where=images.c.concepts == text("'[]'"))
"""Finds the images without concepts at once, and takes no space when there are none."""

concepts = Table(
    "images_concepts",
    tables,
    Column("word", Text, primary_key=True),
    Column("key", Integer, primary_key=True),
    sqlite_with_rowid=False,
)
"""The concepts of images, ordered for filters."""

sentences = Table(
    "sentences",
    tables,
    Column("key", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("text", Text, nullable=False, unique=True),
    Column("created_at", Integer, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

deletions = Table(
    "deletions",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("target", Text, nullable=False),
    Column("key", Integer, nullable=False),
    Column("id", Text, nullable=False),
    Index("ix_deletions_target_key", "target", "key"),
    sqlite_autoincrement=True,
)
"""What was deleted, in order, for every process to follow; emptied by a reindex: all start anew then."""


def _labels(name: str) -> Table:
    """Top-level metadata as text, ordered for filters. The primary key is the whole row."""
    return Table(
        name,
        tables,
        Column("name", Text, primary_key=True),
        Column("value", Text, primary_key=True),
        Column("key", Integer, primary_key=True),
        sqlite_with_rowid=False,
    )


def _staged(name: str) -> Table:
    """Vectors of a reindex that is under way."""
    return Table(name, tables, Column("key", Integer, primary_key=True), Column("vector", LargeBinary, nullable=False))


records: Mapping[Target, Table] = {"images": images, "sentences": sentences}
labels: Mapping[Target, Table] = {target: _labels(f"{target}_labels") for target in records}
staged: Mapping[Target, Table] = {target: _staged(f"{target}_staged") for target in records}


def is_blank(connection: Connection) -> bool:
    """Tell whether the database has no tables at all."""
    return not inspect(connection).get_table_names()


def create(connection: Connection, space: Space) -> None:
    """Make an empty catalog for vectors of `space`."""
    tables.create_all(connection)
    values = {
        "schema_version": str(SCHEMA_VERSION),
        "library_id": secrets.token_hex(16),
        "generation": "1",
        "staging_space": "",
        **space_values(space),
    }
    connection.execute(meta.insert(), [{"name": name, "value": value} for name, value in values.items()])


def space_values(space: Space) -> dict[str, str]:
    """Return the rows of `meta` that describe a space."""
    return {"space_id": space.id, "space_name": space.name, "space_dimension": str(space.dimension)}


def write_meta(connection: Connection, values: Mapping[str, str]) -> None:
    """Change rows of `meta`."""
    for name, value in values.items():
        connection.execute(update(meta).where(meta.c.name == name).values(value=value))


def read_meta(connection: Connection) -> dict[str, str]:
    """Return all rows of `meta`."""
    return {row.name: row.value for row in connection.execute(select(meta))}


def read_state(connection: Connection) -> CatalogState:
    """Return who the catalog is."""
    values = read_meta(connection)
    return CatalogState(
        library_id=values["library_id"],
        space=Space(values["space_id"], values["space_name"], int(values["space_dimension"])),
        generation=int(values["generation"]),
        schema_version=int(values["schema_version"]),
    )


def require_space(connection: Connection, space: Space) -> CatalogState:
    """Return who the catalog is; SpaceMismatch if its vectors are not of `space` (any more)."""
    state = read_state(connection)
    if (state.space.id, state.space.dimension) != (space.id, space.dimension):
        raise SpaceMismatch(state.space, space)
    return state


def migrate(connection: Connection) -> None:
    """Bring a catalog of an earlier version up to date; nothing else happens to it.

    From 1 to 2: images have concepts, which whoever knows the model fills in (`SqliteCatalog.describe`).
    """
    if not needs_migration(connection):  # another process was faster
        return
    connection.exec_driver_sql("ALTER TABLE images ADD COLUMN concepts TEXT DEFAULT '[]' NOT NULL")
    concepts.create(connection)
    for index in images.indexes:
        index.create(connection, checkfirst=True)
    write_meta(connection, {"schema_version": "2"})


def needs_migration(connection: Connection) -> bool:
    """Tell whether `migrate` has something to do."""
    return meta.name in inspect(connection).get_table_names() and read_meta(connection).get("schema_version") == "1"


def verify(connection: Connection, path: Path) -> None:
    """Raise CatalogCorrupted or CatalogUnsupported unless this code can work with the catalog at `path`."""
    present: Any = set(inspect(connection).get_table_names())
    if meta.name not in present:
        raise CatalogCorrupted(path, "it is a database of something else than Visem")
    version = read_meta(connection).get("schema_version", "")
    if version != str(SCHEMA_VERSION):
        raise CatalogUnsupported(
            f"The catalog {path} has the schema version {version or 'unknown'}, but this version of Visem "
            f"works with version {SCHEMA_VERSION}. Use the version of Visem that wrote it, or a newer one."
        )
    missing = {table.name for table in tables.sorted_tables} - present
    if missing:
        raise CatalogCorrupted(path, f"it lacks the tables {', '.join(sorted(missing))}")
    try:
        read_state(connection)
    except (KeyError, ValueError) as error:
        raise CatalogCorrupted(path, f"its description of itself is incomplete ({error})") from error
