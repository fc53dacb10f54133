"""Rows of records with all that belongs to them, written and removed within a transaction."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Column, Connection, and_, delete, insert, select, update

from index.catalog import schema
from index.catalog.concepts import decode_concepts, encode_concepts, insert_concepts, remove_concepts
from index.catalog.facts import encode_facts
from index.interfaces import Draft
from index.metadata import decode_metadata, labels
from index.types import Target
from index.vector_encoding import pack

V = TypeVar("V")

_CHUNK = 500  # values in one IN (…); databases limit how many parameters a statement has
_NAMES: Mapping[Target, str] = {"images": "sha256", "sentences": "text"}


def now() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000


def name_column(target: Target) -> Column[Any]:
    """Return the column that makes a record unique."""
    column: Column[Any] = schema.records[target].c[_NAMES[target]]
    return column


def select_in(
    connection: Connection, columns: Sequence[Column[Any]], column: Column[Any], values: Sequence[V]
) -> Iterator[Mapping[Any, Any]]:
    """Yield the rows in which `column` has one of `values`."""
    unique = list(dict.fromkeys(values))
    for start in range(0, len(unique), _CHUNK):
        query = select(*columns).where(column.in_(unique[start : start + _CHUNK]))
        yield from connection.execute(query).mappings().all()


def insert_record(
    connection: Connection, target: Target, draft: Draft, instead_of: Mapping[Any, Any] | None = None
) -> dict[str, Any]:
    """Insert a record; return its row, without the vector.

    It keeps id, time and metadata of the row that it comes `instead_of`, which must have been removed.
    """
    table = schema.records[target]
    kept: dict[str, Any] = {"id": secrets.token_hex(10), "created_at": now(), "metadata": draft.metadata}
    if instead_of is not None:
        kept = {name: instead_of[name] for name in kept}
    values = {**draft.columns, _NAMES[target]: draft.name, **kept}
    if target == "images":
        values["concepts"] = encode_concepts(draft.concepts)
        values |= encode_facts(draft.facts)
    (vector,) = pack(draft.vector[None])
    result = connection.execute(insert(table).values(**values, vector=vector))
    (key,) = cast(tuple[int], result.inserted_primary_key)
    _insert_labels(connection, target, key, values["metadata"])
    insert_concepts(connection, key, draft.concepts)
    if draft.captions:
        connection.execute(
            insert(schema.captions_owed).values(image=key, count=draft.captions, claimed_until=0),
        )
    return {"key": key, **values}


def replace_metadata(connection: Connection, target: Target, key: int, old: str, new: str) -> None:
    """Replace the metadata of a record: JSON text by JSON text."""
    table = schema.records[target]
    _remove_labels(connection, target, key, old)
    _insert_labels(connection, target, key, new)
    connection.execute(update(table).where(table.c.key == key).values(metadata=new))


def remove_records(connection: Connection, target: Target, keys: Sequence[int]) -> None:
    """Remove records with their labels and concepts, and write that into the log of deletions."""
    table = schema.records[target]
    columns = [table.c.key, table.c.id, table.c.metadata]
    if target == "images":
        columns.append(table.c.concepts)
    for row in select_in(connection, columns, table.c.key, keys):
        key = row["key"]
        _remove_labels(connection, target, key, row["metadata"])
        if target == "images":
            remove_concepts(connection, key, decode_concepts(row["concepts"]))
        connection.execute(delete(table).where(table.c.key == key))
        connection.execute(insert(schema.deletions).values(target=target, key=key, id=row["id"]))


def _insert_labels(connection: Connection, target: Target, key: int, metadata: str) -> None:
    rows = [{"name": name, "value": value, "key": key} for name, value in labels(decode_metadata(metadata)).items()]
    if rows:
        connection.execute(insert(schema.labels[target]), rows)


def _remove_labels(connection: Connection, target: Target, key: int, metadata: str) -> None:
    """Delete the labels of a record, each by its whole primary key: no other index is needed."""
    table = schema.labels[target]
    for name, value in labels(decode_metadata(metadata)).items():
        connection.execute(delete(table).where(and_(table.c.name == name, table.c.value == value, table.c.key == key)))
