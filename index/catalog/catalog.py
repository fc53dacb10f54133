"""The catalog over a SQL database: every record and every vector, and with that the one source of truth.

It is chosen by URL: `sqlite:///path`, of which the default is a file in the folder of the library, or
`postgresql+psycopg://user@host/database`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from index.catalog import inspection, migrations, schema, staging
from index.catalog.captions import SqlCaptions
from index.catalog.collection import SqlCollection
from index.catalog.concepts import decode_concepts, fill_missing
from index.catalog.database import Database
from index.catalog.facts import decode_facts
from index.catalog.leases import SqlLeases
from index.catalog.moving import SqlMoving
from index.catalog.pending_deletions import SqlPendingDeletions
from index.catalog.photos import SqlPhotos
from index.catalog.sources import SqlSources
from index.catalog.sqlite import SqliteDatabase
from index.catalog.times import moment
from index.errors import WITH_CLUSTER, CatalogCorrupted, CatalogUnsupported, EngineUnsupported
from index.interfaces import Catalog, CatalogState
from index.metadata import decode_metadata
from index.types import EngineState, ImageRecord, NameConcepts, SentenceRecord, Space


def open_catalog(url: str | URL, space: Space | None, may_create: Callable[[], bool]) -> Catalog:
    """Open the catalog at `url`, or create it for `space`.

    Nothing is created without a space, or if `may_create` refuses. CatalogUnsupported for another database.
    """
    return SqlCatalog(_open_database(url), space, may_create)


def _open_database(url: str | URL) -> Database:
    use = "use sqlite:///path/to/catalog or postgresql+psycopg://user@host/database"
    try:
        parsed = make_url(url)
    except ArgumentError as error:  # the URL may hold a password
        raise CatalogUnsupported(f"The URL of the catalog is not one of a database; {use}.") from error
    if parsed.drivername == "postgresql+psycopg":
        try:
            from index.catalog.postgres import PostgresDatabase  # the driver comes with the extra `cluster`
        except ImportError as error:
            raise EngineUnsupported("catalog", str(url), f"SQLite (unset), PostgreSQL {WITH_CLUSTER}") from error
        return PostgresDatabase(parsed)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise CatalogUnsupported(f"{parsed.drivername} is not supported; {use}.")
    return SqliteDatabase(Path(parsed.database))


class SqlCatalog:
    """A catalog in a SQL database; see `Catalog` for what each method promises."""

    def __init__(self, database: Database, space: Space | None, may_create: Callable[[], bool]) -> None:
        """Take over `database`, and create the tables for `space` if it is empty.

        CatalogCorrupted, CatalogUnsupported. `may_create` is called before an empty catalog is made.
        """
        self._database = database
        try:
            self._prepare(space, may_create)
        except BaseException:
            database.close()
            raise
        self.images: SqlCollection[ImageRecord] = SqlCollection(database, "images", _image)
        self.sentences: SqlCollection[SentenceRecord] = SqlCollection(database, "sentences", _sentence)
        self.captions = SqlCaptions(database, self.images, self.sentences)
        self.sources = SqlSources(database, self.images)
        self.photos = SqlPhotos(database, self.images)
        self.pending = SqlPendingDeletions(database, self.images)
        self.leases = SqlLeases(database)
        self.moving = SqlMoving(database)

    def state(self) -> CatalogState:
        """Return the identity and version of this catalog, as of now."""
        with self._database.read() as connection:
            return schema.read_state(connection)

    def begin_staging(self, space: Space) -> int:
        """Start, or go on, to stage vectors of `space`; return how many records have theirs already."""
        return self._database.write(lambda connection: staging.begin(connection, space))

    def swap_staged(self, space: Space) -> bool:
        """Replace all vectors by the staged ones in one transaction; False if some record has none yet."""
        return self._database.write(lambda connection: staging.swap(connection, space))

    def describe(self, space: Space, name: NameConcepts) -> int:
        """Give concepts to the images that have none; return how many there were. SpaceMismatch."""
        return fill_missing(self._database, space, name)

    def problems(self) -> list[str]:
        """Return what is wrong with the database and with the records in it."""
        with self._database.read() as connection:
            return inspection.problems(self._database, connection)

    def engine(self) -> EngineState | None:
        """Return how the database server does; None if there is none."""
        return self._database.engine()

    def size(self) -> int:
        """Return how many bytes the database takes up."""
        return self._database.size()

    def content_size(self) -> int:
        """Return how many bytes the content of all images takes up."""
        with self._database.read() as connection:
            total = connection.execute(select(func.coalesce(func.sum(schema.images.c.size), 0))).scalar_one()
            in_place = schema.images.join(schema.images_in_place, schema.images_in_place.c.image == schema.images.c.key)
            elsewhere = select(func.coalesce(func.sum(schema.images.c.size), 0)).select_from(in_place)
            return int(total) - int(connection.execute(elsewhere).scalar_one())

    def close(self) -> None:
        """Finish the writes under way and give up every connection."""
        self._database.close()

    def _prepare(self, space: Space | None, may_create: Callable[[], bool]) -> None:
        """Create the tables where there are none, bring older ones up to date, and make sure of them."""
        database = self._database

        def create(connection: Connection) -> None:
            if schema.table_names(connection):  # another process was faster
                return
            if space is None:
                raise database.missing()
            if not may_create():
                raise CatalogCorrupted(
                    database.location, "it is empty or was missing, but there are content files beside it"
                )
            schema.create(connection, space)

        with database.read() as connection:
            blank = not schema.table_names(connection)
        if blank:
            database.write(create)
        with database.read() as connection:
            old = migrations.needed(connection)
        if old:
            database.write(migrations.run)
        with database.read() as connection:
            inspection.verify(connection, database.location)
            damage = database.damage(connection, thorough=False)
        if damage:
            raise CatalogCorrupted(database.location, damage[0])
        database.guard(schema.require_version)


def _image(row: Mapping[str, Any]) -> ImageRecord:
    return ImageRecord(
        id=row["id"],
        sha256=row["sha256"],
        filename=row["filename"],
        media_type=row["media_type"],
        width=row["width"],
        height=row["height"],
        size=row["size"],
        created_at=moment(row["created_at"]),
        metadata=decode_metadata(row["metadata"]),
        concepts=decode_concepts(row["concepts"]),
        facts=decode_facts(row),
    )


def _sentence(row: Mapping[str, Any]) -> SentenceRecord:
    return SentenceRecord(
        id=row["id"],
        text=row["text"],
        created_at=moment(row["created_at"]),
        metadata=decode_metadata(row["metadata"]),
    )
