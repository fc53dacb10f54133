"""Rows of records with all that belongs to them, written and removed within a transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, and_, delete, insert, select, update

from index.catalog import schema
from index.catalog.concepts import decode_concepts, encode_concepts, insert_concepts, remove_concepts
from index.catalog.facts import encode_facts
from index.catalog.times import now
from index.interfaces import Draft
from index.metadata import decode_metadata, labels
from index.types import Target
from index.vector_encoding import pack

V = TypeVar("V")

_CHUNK = 500  # values in one IN (…); databases limit how many parameters a statement has
_NAMES: Mapping[Target, str] = {"images": "sha256", "sentences": "text"}


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
    kept = {} if instead_of is None else {name: instead_of[name] for name in ("id", "created_at", "metadata")}
    return insert_records(connection, target, [draft], kept)[0]


def insert_records(
    connection: Connection, target: Target, drafts: Sequence[Draft], kept: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Insert records, with the values that are `kept` of another; return their rows, without the vectors, in order."""
    if not drafts:
        return []
    table = schema.records[target]
    rows: list[dict[str, Any]] = []
    for draft in drafts:
        made = {"id": secrets.token_hex(10), "created_at": now(), "metadata": draft.metadata}
        if target == "images":
            made["concepts"] = encode_concepts(draft.concepts)
            made |= encode_facts(draft.facts)
        rows.append({**made, **draft.columns, _NAMES[target]: draft.name, **(kept or {})})
    vectors = pack([draft.vector for draft in drafts])
    inserted = connection.execute(
        insert(table).returning(table.c.id, table.c.key, sort_by_parameter_order=True),
        [{**row, "vector": vector} for row, vector in zip(rows, vectors, strict=True)],
    )
    keys = {row.id: row.key for row in inserted}
    for row in rows:
        row["key"] = keys[row["id"]]
    _insert_labels(connection, target, [(row["key"], row["metadata"]) for row in rows])
    described = [(row["key"], draft) for row, draft in zip(rows, drafts, strict=True)]
    insert_concepts(connection, [(key, draft.concepts) for key, draft in described])
    owed = [{"image": key, "count": draft.captions, "claimed_until": 0} for key, draft in described if draft.captions]
    if owed:
        connection.execute(insert(schema.captions_owed), owed)
    return rows


def forget_attempts(connection: Connection) -> int:
    """Make everything owed due now, as if it had never been attempted; return how many images that concerns."""
    table = schema.captions_owed
    return connection.execute(update(table).where(table.c.attempts > 0).values(attempts=0, claimed_until=0)).rowcount


def replace_metadata(connection: Connection, target: Target, key: int, old: str, new: str) -> None:
    """Replace the metadata of a record: JSON text by JSON text."""
    table = schema.records[target]
    _remove_labels(connection, target, key, old)
    _insert_labels(connection, target, [(key, new)])
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


def _insert_labels(connection: Connection, target: Target, records: Sequence[tuple[int, str]]) -> None:
    """Let filters find records by their metadata: pairs of key and JSON text."""
    rows = [
        {"name": name, "value": value, "key": key}
        for key, metadata in records
        for name, value in labels(decode_metadata(metadata)).items()
    ]
    if rows:
        connection.execute(insert(schema.labels[target]), rows)


def _remove_labels(connection: Connection, target: Target, key: int, metadata: str) -> None:
    """Delete the labels of a record, each by its whole primary key: no other index is needed."""
    table = schema.labels[target]
    for name, value in labels(decode_metadata(metadata)).items():
        connection.execute(delete(table).where(and_(table.c.name == name, table.c.value == value, table.c.key == key)))
