"""Looking for damage in a catalog: its structure, and records that contradict themselves or each other."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, exists, select

from index.catalog import schema
from index.catalog.concepts import concept_problems
from index.catalog.database import Database
from index.catalog.relations import CAPTIONER
from index.errors import CatalogCorrupted, CatalogUnsupported, InvalidMetadata, InvalidVector
from index.metadata import decode_metadata, encode_metadata, labels
from index.types import Target
from index.vector_encoding import unpack

_BATCH = 1000


def problems(database: Database, connection: Connection) -> list[str]:
    """Return what is wrong with the database and its records, a sentence each."""
    found = database.damage(connection, thorough=True)
    if found:
        return [f"The catalog is damaged: {line}" for line in found]
    for target in schema.records:
        found += _record_problems(database, connection, target)
    return found + concept_problems(connection) + _relation_problems(connection)


def _record_problems(database: Database, connection: Connection, target: Target) -> list[str]:
    """Return the records whose vector or metadata is broken, and metadata that filters see differently."""
    dimension = schema.read_state(connection).space.dimension
    table = schema.records[target]
    filed: dict[int, dict[str, str]] = defaultdict(dict)
    for label in connection.execute(select(schema.labels[target])):
        filed[label.key][label.name] = label.value
    found: list[str] = []
    last = 0
    while rows := connection.execute(
        select(table.c.key, table.c.id, table.c.metadata, table.c.vector)
        .where(table.c.key > last)
        .order_by(table.c.key)
        .limit(_BATCH)
    ).all():
        last = rows[-1].key
        for row in rows:
            try:
                unpack([row.vector], dimension)
            except InvalidVector as error:
                found.append(f"{target}: {row.id} has an invalid vector: {error}")
            try:
                metadata = decode_metadata(row.metadata)
                encode_metadata(metadata)
            except (ValueError, InvalidMetadata) as error:
                found.append(f"{target}: {row.id} has invalid metadata: {error}")
                filed.pop(row.key, None)
                continue
            sought = {database.as_label(name): database.as_label(value) for name, value in labels(metadata).items()}
            if filed.pop(row.key, {}) != sought:
                found.append(f"{target}: the metadata filters of {row.id} do not match its metadata")
    found += [f"{target}: there are metadata filters for the key {key} without a record" for key in filed]
    return found


def _file_problems(connection: Connection) -> list[str]:
    """Return images that should be hidden and are not, or are and should not be, and files of no source."""
    images, files, in_place = schema.images, schema.source_files, schema.images_in_place
    present = exists().where(files.c.image == in_place.c.image, files.c.state == "present")
    joined = select(images.c.id).join(in_place, in_place.c.image == images.c.key)
    lost = joined.where(in_place.c.missing_since.is_(None), ~present)
    found = joined.where(in_place.c.missing_since.is_not(None), present)
    orphans = select(files.c.source).where(~exists().where(schema.sources.c.key == files.c.source)).distinct()
    keys = connection.execute(orphans).scalars()
    return [
        *(f"images: {id} has neither a copy nor a file in a source" for id in connection.execute(lost).scalars()),
        *(f"images: {id} is hidden although its file is there" for id in connection.execute(found).scalars()),
        *(f"sources: there are files of the key {key} without a source" for key in keys),
    ]


def verify(connection: Connection, location: str) -> None:
    """Raise CatalogCorrupted or CatalogUnsupported unless this code can work with the catalog at `location`."""
    present = schema.table_names(connection)
    if schema.meta.name not in present:
        raise CatalogCorrupted(location, "it is a database of something else than Visem")
    version = schema.read_meta(connection).get("schema_version", "")
    if version != str(schema.SCHEMA_VERSION):
        raise CatalogUnsupported(
            f"The catalog {location} has the schema version {version or 'unknown'}, but this version of Visem "
            f"works with version {schema.SCHEMA_VERSION}. Use the version of Visem that wrote it, or a newer one."
        )
    missing = {table.name for table in schema.tables.sorted_tables} - present
    if missing:
        raise CatalogCorrupted(location, f"it lacks the tables {', '.join(sorted(missing))}")
    try:
        schema.read_state(connection)
    except (KeyError, ValueError) as error:
        raise CatalogCorrupted(location, f"its description of itself is incomplete ({error})") from error


def _relation_problems(connection: Connection) -> list[str]:
    """Return what hangs on images or sentences that are not there, and captions of no image."""
    images, sentences, captions = schema.images, schema.sentences, schema.captions
    found: list[str] = []
    for table, column, records in (
        (captions, captions.c.image, images),
        (captions, captions.c.sentence, sentences),
        (schema.captions_owed, schema.captions_owed.c.image, images),
        (schema.pending_deletions, schema.pending_deletions.c.image, images),
        (schema.images_in_place, schema.images_in_place.c.image, images),
        (schema.source_files, schema.source_files.c.image, images),
    ):
        lost = select(column).where(column.is_not(None), ~exists().where(records.c.key == column)).distinct()
        found += [
            f"{records.name}: there are {table.name} for the key {key} without a record"
            for key in connection.execute(lost).scalars()
        ]
    found += _file_problems(connection)
    alone = ~exists().where(captions.c.sentence == sentences.c.key)
    query = select(sentences.c.id).where(sentences.c.origin == CAPTIONER, alone)
    return found + [
        f"sentences: {id} was written for an image, but is a caption of none"
        for id in connection.execute(query).scalars()
    ]
