"""Looking for damage in a catalog: its structure, and records that contradict themselves or each other."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Select, exists, func, select

from index.catalog import schema
from index.catalog.concepts import concept_problems
from index.catalog.database import Database
from index.catalog.relations import CAPTIONER
from index.errors import CatalogCorrupted, CatalogUnsupported, InvalidMetadata, InvalidVector
from index.metadata import decode_metadata, encode_metadata, labels
from index.types import Target
from index.vector_encoding import stored_rows

_BATCH = 1000
_STRETCH = 1 << 22  # keys whose metadata filters are compared at a time: eight bytes of memory each


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
    found: list[str] = []
    after: int | None = None
    while (first := _next_key(connection, target, after)) is not None:
        keys = range(first, min(first + _STRETCH, 1 << 63))  # keys have 64 bits, whatever a damaged file says
        found += _problems_of_stretch(database, connection, target, keys)
        after = keys[-1]
    return found


def _next_key(connection: Connection, target: Target, after: int | None) -> int | None:
    """Return the next key that a record or a metadata filter has; None if there is none."""
    columns = (schema.records[target].c.key, schema.labels[target].c.key)
    queries = [select(func.min(key)).where(*([] if after is None else [key > after])) for key in columns]
    found = [key for query in queries if (key := connection.execute(query).scalar_one()) is not None]
    return min(found, default=None)


def _problems_of_stretch(database: Database, connection: Connection, target: Target, keys: range) -> list[str]:
    """As `_record_problems`, of the records with these keys.

    Labels are in the order of names, records in that of keys. So that neither has to be in memory, the labels of each
    key are added up as digests, with a random key so that nobody can choose what they add up to.
    """
    import numpy as np

    salt = secrets.token_bytes(16)

    def digest(labels: Iterable[tuple[str, str]]) -> int:
        total = 0
        for name, value in labels:
            text = f"{len(name)} {name}{value}".encode("utf-8", "surrogatepass")
            total += int.from_bytes(blake2b(text, digest_size=8, key=salt).digest(), "little")
        return total % (1 << 64)

    @lru_cache(_BATCH)  # much metadata is alike
    def sought(metadata: str) -> int | str:
        try:
            decoded = decode_metadata(metadata)
            encode_metadata(decoded)
        except (ValueError, InvalidMetadata) as error:
            return str(error)
        return digest({database.as_label(n): database.as_label(v) for n, v in labels(decoded).items()}.items())

    filed = np.zeros(len(keys), dtype=np.uint64)
    is_filed = np.zeros(len(keys), dtype=bool)
    table = schema.labels[target]
    inside = table.c.key.between(keys[0], keys[-1])
    for name, value, key in _streamed(connection, select(table.c.name, table.c.value, table.c.key).where(inside)):
        at = key - keys[0]
        filed[at] = (int(filed[at]) + digest([(name, value)])) % (1 << 64)
        is_filed[at] = True
    found: list[str] = []
    dimension = schema.read_state(connection).space.dimension
    for rows in _records(connection, target, keys):
        found += _vector_problems(target, rows, dimension)
        for row in rows:
            at = row.key - keys[0]
            expected = sought(row.metadata)
            if isinstance(expected, str):
                found.append(f"{target}: {row.id} has invalid metadata: {expected}")
            elif expected != int(filed[at]):
                found.append(f"{target}: the metadata filters of {row.id} do not match its metadata")
            is_filed[at] = False
    lost = (np.flatnonzero(is_filed) + keys[0]).tolist()
    return found + [f"{target}: there are metadata filters for the key {key} without a record" for key in lost]


def _records(connection: Connection, target: Target, keys: range) -> Iterator[Sequence[Any]]:
    """Yield the key, id, metadata and vector of records, some at a time."""
    table = schema.records[target]
    query = select(table.c.key, table.c.id, table.c.metadata, table.c.vector).order_by(table.c.key).limit(_BATCH)
    rest = keys
    while rest and (rows := connection.execute(query.where(table.c.key.between(rest[0], rest[-1]))).all()):
        rest = range(rows[-1].key + 1, keys.stop)
        yield rows


def _vector_problems(target: Target, rows: Sequence[Any], dimension: int) -> list[str]:
    """Return which of these records have a broken vector; all are looked at in one go, unless some have."""
    try:
        stored_rows(b"".join(row.vector for row in rows), len(rows), dimension)
    except InvalidVector as error:
        if len(rows) == 1:
            return [f"{target}: {rows[0].id} has an invalid vector: {error}"]
        return [problem for row in rows for problem in _vector_problems(target, [row], dimension)]
    if len({len(row.vector) for row in rows}) == 1:
        return []
    return [problem for row in rows for problem in _vector_problems(target, [row], dimension)]


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    """Yield rows as the database finds them: some are in memory at a time."""
    yield from connection.execute(query, execution_options={"yield_per": _BATCH})


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
