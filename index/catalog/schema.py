"""The tables of a catalog, and its description of itself. No dialect is named here.

What a dialect needs to know about a table is in its `info`, and it turns that into options of its own:

- `ASCENDING`: keys are never used again, so that the changes since a key are those above it.
- `CLUSTERED`: rows are found by their whole primary key only, in its order.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
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

from index.errors import CatalogUnsupported, SpaceMismatch
from index.interfaces import CatalogState
from index.types import Space, Target

SCHEMA_VERSION = 6
"""What this code reads and writes. Each version has a migration in `migrations/versions`."""

ASCENDING = {"ascending": True}
CLUSTERED = {"clustered": True}

tables = MetaData()


class Label(Text):
    """Text that is compared for equality alone: a database may keep a digest of what is long."""


meta = Table("meta", tables, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""Rows: schema_version, library_id, generation, space_id, space_name, space_dimension, staging_space, removals."""

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
    Column("facts_read", Integer, nullable=False, server_default="0"),  # 1: the columns below say what the file says
    Column("taken", Integer),  # microseconds since 1970 on the clock of the place
    Column("taken_offset", Integer),  # minutes that this clock is ahead of UTC, where the file says so
    Column("camera", Text),
    Column("lens", Text),
    Column("latitude", Float),  # degrees
    Column("longitude", Float),
    Column("place_x", Float),  # the same place as a unit vector from the centre of the earth
    Column("place_y", Float),
    Column("place_z", Float),
    Column("orientation", Integer),
    Column("title", Text),
    Column("keywords", Text),  # JSON: a list
    Column("vector", LargeBinary, nullable=False),  # D little-endian float16
    info=ASCENDING,
)

Index("ix_images_undescribed", images.c.key, info={"where": images.c.concepts == text("'[]'")})
"""Finds the images without concepts at once, and takes no space when there are none."""

Index("ix_images_facts_unread", images.c.key, info={"where": images.c.facts_read == text("0")})
"""Finds the images whose files have not been asked yet, in the same way."""

for _column in (images.c.taken, images.c.camera, images.c.latitude):
    Index(f"ix_images_{_column.name}", _column, images.c.key, info={"where": _column.is_not(None)})

concepts = Table(
    "images_concepts",
    tables,
    Column("word", Text, primary_key=True),
    Column("key", Integer, primary_key=True),
    info=CLUSTERED,
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
    Column("origin", Text),  # `captioner`: it goes with the last image that it is a caption of; NULL: people's own
    Column("vector", LargeBinary, nullable=False),
    info=ASCENDING,
)

captions = Table(
    "captions",
    tables,
    Column("image", Integer, primary_key=True),
    Column("sentence", Integer, primary_key=True),
    Column("origin", Text, nullable=False),  # `captioner` or `user`
    Column("place", Integer, nullable=False),  # among the captions of the image of this origin
    Column("score", Float),  # what the captioner ranked it by, when it wrote it
    Index("ix_captions_sentence", "sentence"),
    info=CLUSTERED,
)
"""Which sentences are captions of which images, by their keys."""

captions_owed = Table(
    "captions_owed",
    tables,
    Column("image", Integer, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("claimed_until", Integer, nullable=False),  # microseconds; somebody is at work on it, or it rests
    Column("attempts", Integer, nullable=False, server_default="0"),  # that were begun; one too many, and it is left
)
"""Images that are to get captions of the captioner, and how many."""

pending_deletions = Table(
    "pending_deletions",
    tables,
    Column("image", Integer, primary_key=True, autoincrement=False),
    Column("due", Integer, nullable=False),  # microseconds since the epoch, UTC
)
"""Images whose deletion can still be undone."""

sources = Table(
    "sources",
    tables,
    Column("key", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("root", LargeBinary, nullable=False, unique=True),  # a path, which need not be valid text
    Column("paused", Integer, nullable=False),
    Column("state", Text, nullable=False),  # `new`, `ready` or `away`
    Column("reason", Text),  # why it is away
    Column("finished_at", Integer),  # microseconds; when the last complete pass ended
    Column("mounts", Text, nullable=False),  # JSON: folders in it on which something was mounted
    info=ASCENDING,
)
"""Folders whose pictures stay where they are."""

source_files = Table(
    "source_files",
    tables,
    Column("source", Integer, primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # relative to the root
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("sha256", Text),  # of its content, where that was read to the end
    Column("image", Integer),  # the image that it is a file of
    Column("state", Text, nullable=False),  # `present`, `missing`, `refused`, `skipped` or `deleted`
    Column("code", Text),
    Column("reason", Text),
    Index("ix_source_files_image", "image"),
    Index("ix_source_files_state", "source", "state"),
    info=CLUSTERED,
)
"""What was last seen of each file in a source."""

images_in_place = Table(
    "images_in_place",
    tables,
    Column("image", Integer, primary_key=True, autoincrement=False),
    Column("missing_since", Integer),  # microseconds; NULL while one of its files is there
)
"""Images of which the library has no copy: their content is in the files of sources alone."""

Index(
    "ix_images_in_place_missing",
    images_in_place.c.image,
    info={"where": images_in_place.c.missing_since.is_not(None)},
)
"""Finds hidden images quickly, and takes no space when there are none."""

deletions = Table(
    "deletions",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("target", Text, nullable=False),
    Column("key", Integer, nullable=False),
    Column("id", Text, nullable=False),
    Index("ix_deletions_target_key", "target", "key"),
    info=ASCENDING,
)
"""What was deleted, in order, for every process to follow; emptied by a reindex: all start anew then."""


def _labels(name: str) -> Table:
    """Top-level metadata as text, ordered for filters. The primary key is the whole row."""
    return Table(
        name,
        tables,
        Column("name", Label, primary_key=True),
        Column("value", Label, primary_key=True),
        Column("key", Integer, primary_key=True),
        info=CLUSTERED,
    )


def _staged(name: str) -> Table:
    """Vectors of a reindex that is under way."""
    key = Column("key", Integer, primary_key=True, autoincrement=False)
    return Table(name, tables, key, Column("vector", LargeBinary, nullable=False))


records: Mapping[Target, Table] = {"images": images, "sentences": sentences}
labels: Mapping[Target, Table] = {target: _labels(f"{target}_labels") for target in records}
staged: Mapping[Target, Table] = {target: _staged(f"{target}_staged") for target in records}


def table_names(connection: Connection) -> set[str]:
    """Return the names of the tables that are there."""
    return set(inspect(connection).get_table_names())


def create(connection: Connection, space: Space) -> None:
    """Make an empty catalog for vectors of `space`."""
    tables.create_all(connection, checkfirst=False)
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
    rows: Any = connection.execute(select(meta))
    return {row.name: row.value for row in rows}


def read_state(connection: Connection) -> CatalogState:
    """Return the identity and version of the catalog; CatalogUnsupported if it has another schema by now."""
    values = read_meta(connection)
    _require_version(values["schema_version"])
    return CatalogState(
        library_id=values["library_id"],
        space=Space(values["space_id"], values["space_name"], int(values["space_dimension"])),
        generation=int(values["generation"]),
        schema_version=int(values["schema_version"]),
    )


def require_version(connection: Connection) -> None:
    """Raise CatalogUnsupported if a newer Visem has given the catalog another schema while this one has it open."""
    _require_version(connection.execute(select(meta.c.value).where(meta.c.name == "schema_version")).scalar_one())


def _require_version(version: str) -> None:
    if version != str(SCHEMA_VERSION):
        raise CatalogUnsupported(
            f"The catalog has the schema version {version} by now, but this version of Visem works with version "
            f"{SCHEMA_VERSION}. Stop it, and start the version that works with the other processes of the library."
        )


def require_space(connection: Connection, space: Space) -> CatalogState:
    """Return the identity and version of the catalog; SpaceMismatch if its vectors are not of `space` (any more)."""
    state = read_state(connection)
    if (state.space.id, state.space.dimension) != (space.id, space.dimension):
        raise SpaceMismatch(state.space, space)
    return state


def read_removals(connection: Connection) -> int:
    """Return how often files were removed, as far as that was counted."""
    return int(connection.execute(select(meta.c.value).where(meta.c.name == "removals")).scalar() or 0)


def count_removal(connection: Connection) -> None:
    """Note that files are about to be removed."""
    count = read_removals(connection)
    if count:
        write_meta(connection, {"removals": str(count + 1)})
    else:
        connection.execute(meta.insert().values(name="removals", value="1"))
