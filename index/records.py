"""One collection of records in a SQLite catalog: images or sentences, by the same queries."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, cast

import numpy as np
from sqlalchemy import Column, Connection, FromClause, Select, and_, delete, exists, func, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from index import schema
from index.concepts import encode_concepts, insert_concepts, remove_concepts
from index.database import Database
from index.encoding import pack, unpack
from index.errors import CatalogCorrupted, InvalidVector, RecordNotFound
from index.feed import SqlChangeFeed
from index.interfaces import Draft, Position
from index.metadata import decode_metadata, encode_metadata
from index.metadata import labels as labels_of
from index.staging import require_staging
from index.types import Added, Filters, ImageRecord, Keys, Metadata, R, Space, Target, Vectors

V = TypeVar("V")

_CHUNK = 500  # values in one IN (…); SQLite allows 32,766 parameters


class SqlCollection(Generic[R]):
    """The records of one kind; see `Collection` for what each method promises."""

    def __init__(
        self,
        database: Database,
        target: Target,
        noun: Literal["image", "sentence"],
        unique: str,
        to_record: Callable[[Mapping[Any, Any]], R],
    ) -> None:
        """Work on the tables of `target`; `unique` is the column of names, `to_record` reads a row."""
        self._database = database
        self._target: Target = target
        self._noun: Literal["image", "sentence"] = noun
        self._table = schema.records[target]
        self._labels = schema.labels[target]
        self._staged = schema.staged[target]
        self._name: Column[Any] = self._table.c[unique]
        self._to_record = to_record
        self._columns = [column for column in self._table.c if column.name != "vector"]

    @property
    def target(self) -> Target:
        """Which collection this is."""
        return self._target

    def add(self, drafts: Sequence[Draft], space: Space, before_insert: Callable[[list[str]], None]) -> list[Added[R]]:
        """Store the drafts in one transaction; see `Collection.add`."""
        blobs = pack(np.stack([draft.vector for draft in drafts])) if drafts else []
        texts = [encode_metadata(draft.metadata) for draft in drafts]
        names = [draft.name for draft in drafts]

        def transaction(connection: Connection) -> list[Added[R]]:
            schema.require_space(connection, space)
            known = self._find(connection, names)
            first: dict[str, int] = {}
            for at, name in enumerate(names):
                if name not in known:
                    first.setdefault(name, at)
            before_insert(list(first))
            for name, at in first.items():
                known[name] = self._insert(connection, drafts[at], texts[at], blobs[at])
            return [Added(known[name], created=first.get(name) == at) for at, name in enumerate(names)]

        return self._database.write(transaction)

    def find(self, names: Sequence[str]) -> dict[str, R]:
        """Return the records that have these names; the others are left out."""
        with self._database.read() as connection:
            return self._find(connection, names)

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Return those names that no record has."""
        with self._database.read() as connection:
            return self._unknown(connection, names)

    def get(self, id: str) -> R:
        """Return one record; RecordNotFound."""
        with self._database.read() as connection:
            return self._get(connection, id)[1]

    def page(self, before: int | None, limit: int, filters: Filters, words: Sequence[str] = ()) -> list[tuple[int, R]]:
        """Return up to `limit` pairs (key, record), newest first, with keys below `before`."""
        query, key = self._matching(filters, words, whole=True)
        if before is not None:
            query = query.where(key < before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(key.desc()).limit(limit)).mappings()
            return [(row["key"], self._record(row)) for row in rows]

    def count(self, filters: Filters, words: Sequence[str] = ()) -> int:
        """Count the records that match."""
        query, _ = self._matching(filters, words)
        with self._database.read() as connection:
            return int(connection.execute(query.with_only_columns(func.count())).scalar_one())

    def update(self, id: str, metadata: Metadata) -> R:
        """Replace the metadata of one record; RecordNotFound."""
        text = encode_metadata(metadata)

        def transaction(connection: Connection) -> R:
            key, old = self._get(connection, id)
            self._remove_labels(connection, {key: old.metadata})
            self._insert_labels(connection, key, text)
            connection.execute(sql_update(self._table).where(self._table.c.key == key).values(metadata=text))
            return self._get(connection, id)[1]

        return self._database.write(transaction)

    def delete(self, ids: Sequence[str]) -> list[R]:
        """Delete all of these in one transaction, or none: RecordNotFound."""

        def transaction(connection: Connection) -> list[R]:
            found = {id: self._get(connection, id) for id in ids}
            self._remove_labels(connection, {key: record.metadata for key, record in found.values()})
            for id, (key, record) in found.items():
                if isinstance(record, ImageRecord):
                    remove_concepts(connection, key, record.concepts)
                connection.execute(delete(self._table).where(self._table.c.key == key))
                connection.execute(insert(schema.deletions).values(target=self._target, key=key, id=id))
            return [record for _, record in found.values()]

        return self._database.write(transaction)

    def release(self, names: Sequence[str], remove: Callable[[list[str]], None]) -> None:
        """Call `remove` with those names that no record has, while nobody else can write."""

        def transaction(connection: Connection) -> None:
            remove(self._unknown(connection, names))

        self._database.write(transaction)

    def keys(self, filters: Filters, words: Sequence[str] = ()) -> Keys:
        """Return the keys of all records that match, ascending."""
        query, _ = self._matching(filters, words)
        with self._database.read() as connection:
            return np.sort(np.fromiter(connection.execute(query).scalars(), dtype=np.int64))

    def keys_of(self, ids: Sequence[str]) -> Keys:
        """Return the keys of the records with these ids; unknown ids are left out."""
        if not ids:
            return np.empty(0, dtype=np.int64)
        with self._database.read() as connection:
            rows = self._select(connection, [self._table.c.key], self._table.c.id, ids)
            return np.fromiter((row["key"] for row in rows), dtype=np.int64)

    def records(self, keys: Keys) -> dict[int, R]:
        """Return the records with these keys; keys of deleted records are left out."""
        with self._database.read() as connection:
            rows = self._select(connection, self._columns, self._table.c.key, keys.tolist())
            return {row["key"]: self._record(row) for row in rows}

    def vectors(self, ids: Sequence[str], space: Space) -> Vectors:
        """Return the vectors of these records, (n, D), in this order; RecordNotFound, SpaceMismatch."""
        with self._database.read() as connection:
            schema.require_space(connection, space)
            rows = self._select(connection, [self._table.c.id, self._table.c.vector], self._table.c.id, ids)
            blobs: dict[str, bytes] = {row["id"]: row["vector"] for row in rows}
        for id in ids:
            if id not in blobs:
                raise RecordNotFound(self._noun, id)
        try:
            return unpack([blobs[id] for id in ids], space.dimension)
        except InvalidVector as error:
            raise CatalogCorrupted(self._database.path, str(error)) from error

    def head(self) -> Position:
        """Return the position of the last change."""
        with self._database.read() as connection:
            return Position(
                generation=schema.read_state(connection).generation,
                key=connection.execute(select(func.max(self._table.c.key))).scalar_one() or 0,
                deletion=connection.execute(select(func.max(schema.deletions.c.seq))).scalar_one() or 0,
            )

    def anchor(self, key: int) -> str | None:
        """Return the id that this key stands or stood for."""
        log = schema.deletions
        with self._database.read() as connection:
            id = connection.execute(select(self._table.c.id).where(self._table.c.key == key)).scalar()
            if id is None:
                deleted = select(log.c.id).where(log.c.target == self._target, log.c.key == key)
                id = connection.execute(deleted).scalar()
            return id

    def feed(self) -> SqlChangeFeed:
        """Start to follow this collection."""
        return SqlChangeFeed(self._database, self._target)

    def unstaged(self, after: int, limit: int) -> list[tuple[int, R]]:
        """Return up to `limit` pairs (key, record) with keys above `after` that have no staged vector yet."""
        key = self._table.c.key
        query = (
            select(*self._columns)
            .where(key > after, ~exists().where(self._staged.c.key == key))
            .order_by(key)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row["key"], self._record(row)) for row in connection.execute(query).mappings()]

    def stage(self, space: Space, keys: Keys, vectors: Vectors) -> None:
        """Keep vectors of `space` for these keys until the swap; ReindexConflict for another space."""
        rows = [{"key": key, "vector": blob} for key, blob in zip(keys.tolist(), pack(vectors), strict=True)]

        def transaction(connection: Connection) -> None:
            require_staging(connection, space)
            connection.execute(sqlite_insert(self._staged).on_conflict_do_nothing(), rows)

        self._database.write(transaction)

    def _matching(
        self, filters: Filters, words: Sequence[str] = (), whole: bool = False
    ) -> tuple[Select[Any], Column[Any]]:
        """Return a query for the keys, or the `whole` records, that match, and the key column to page by.

        With filters that is the key of the first label: its primary key is ordered by it, so a page reads
        only its own rows however large the collection is.
        """
        table = self._table
        if not filters and not words:
            return select(*(self._columns if whole else [table.c.key])).select_from(table), table.c.key
        labels = [self._labels.alias() for _ in filters]
        concepts = [schema.concepts.alias() for _ in words]
        aliases = [*labels, *concepts]
        key: Column[Any] = aliases[0].c.key
        source: FromClause = aliases[0]
        for other in aliases[1:]:
            source = source.join(other, other.c.key == key)
        if whole:
            source = source.join(table, table.c.key == key)
        conditions = [
            and_(label.c.name == name, label.c.value == value)
            for label, (name, value) in zip(labels, filters.items(), strict=True)
        ]
        conditions += [concept.c.word == word for concept, word in zip(concepts, words, strict=True)]
        return select(*(self._columns if whole else [key])).select_from(source).where(*conditions), key

    def _find(self, connection: Connection, names: Sequence[str]) -> dict[str, R]:
        rows = self._select(connection, self._columns, self._name, names)
        return {row[self._name.name]: self._record(row) for row in rows}

    def _unknown(self, connection: Connection, names: Sequence[str]) -> list[str]:
        rows = self._select(connection, [self._name], self._name, names)
        known = {row[self._name.name] for row in rows}
        return [name for name in names if name not in known]

    def _get(self, connection: Connection, id: str) -> tuple[int, R]:
        for row in self._select(connection, self._columns, self._table.c.id, [id]):
            return row["key"], self._record(row)
        raise RecordNotFound(self._noun, id)

    @staticmethod
    def _select(
        connection: Connection, columns: Sequence[Column[Any]], column: Column[Any], values: Sequence[V]
    ) -> Iterator[Mapping[Any, Any]]:
        """Yield the rows in which `column` has one of `values`."""
        unique = list(dict.fromkeys(values))
        for start in range(0, len(unique), _CHUNK):
            query = select(*columns).where(column.in_(unique[start : start + _CHUNK]))
            yield from connection.execute(query).mappings().all()

    def _record(self, row: Mapping[Any, Any]) -> R:
        try:
            return self._to_record(row)
        except ValueError as error:
            reason = f"the metadata of the {self._noun} {row['id']} is damaged ({error})"
            raise CatalogCorrupted(self._database.path, reason) from error

    def _insert(self, connection: Connection, draft: Draft, metadata: str, vector: bytes) -> R:
        values = {
            **draft.columns,
            self._name.name: draft.name,
            "id": secrets.token_hex(10),
            "created_at": time.time_ns() // 1000,
            "metadata": metadata,
        }
        if self._table is schema.images:
            values["concepts"] = encode_concepts(draft.concepts)
        result = connection.execute(insert(self._table).values(**values, vector=vector))
        (key,) = cast(tuple[int], result.inserted_primary_key)
        self._insert_labels(connection, key, metadata)
        insert_concepts(connection, key, draft.concepts)
        return self._record(values)

    def _insert_labels(self, connection: Connection, key: int, metadata: str) -> None:
        rows = [
            {"name": name, "value": value, "key": key} for name, value in labels_of(decode_metadata(metadata)).items()
        ]
        if rows:
            connection.execute(insert(self._labels), rows)

    def _remove_labels(self, connection: Connection, metadata: Mapping[int, Metadata]) -> None:
        """Delete the labels of these records, each by its whole primary key: no other index is needed."""
        table = self._labels
        for key, object in metadata.items():
            for name, value in labels_of(object).items():
                same = and_(table.c.name == name, table.c.value == value, table.c.key == key)
                connection.execute(delete(table).where(same))
