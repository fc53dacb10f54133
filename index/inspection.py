"""Looking for damage in a catalog: the file's structure, and records that contradict themselves."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

from sqlalchemy import Connection, select

from index import schema
from index.concepts import concept_problems
from index.encoding import unpack
from index.errors import InvalidMetadata, InvalidVector
from index.metadata import decode_metadata, encode_metadata, labels
from index.types import Target

_BATCH = 1000


def damage(connection: Connection, check: Literal["quick_check", "integrity_check"]) -> list[str]:
    """Return what SQLite finds wrong with the structure of the file."""
    lines = connection.exec_driver_sql(f"PRAGMA {check}").scalars().all()
    return [] if lines == ["ok"] else [str(line) for line in lines]


def problems(connection: Connection) -> list[str]:
    """Return what is wrong with the file and its records, a sentence each."""
    found = damage(connection, "integrity_check")
    if found:
        return [f"The catalog is damaged: {line}" for line in found]
    for target in schema.records:
        found += _record_problems(connection, target)
    return found + concept_problems(connection)


def _record_problems(connection: Connection, target: Target) -> list[str]:
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
            if filed.pop(row.key, {}) != labels(metadata):
                found.append(f"{target}: the metadata filters of {row.id} do not match its metadata")
    found += [f"{target}: there are metadata filters for the key {key} without a record" for key in filed]
    return found
