"""One collection of records in a catalog: images or sentences, by the same queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal

from sqlalchemy import (
    Column,
    Connection,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    or_,
    select,
)

from index.catalog import files, relations, schema
from index.catalog.database import Database
from index.catalog.facts import conditions
from index.catalog.feed import SqlChangeFeed
from index.catalog.ordering import stretch_by_key, stretches_by_time
from index.catalog.rows import insert_records, name_column, replace_metadata, select_in
from index.catalog.staging import require_staging
from index.errors import CatalogCorrupted, InvalidVector, RecordNotFound
from index.interfaces import Draft, GenerationChanged, Position, Spot
from index.metadata import encode_metadata, filter_name, sought_labels
from index.types import (
    ANY_PHOTO,
    NEWEST_FIRST,
    Added,
    Filters,
    Halves,
    Keys,
    Metadata,
    Order,
    PhotoFilter,
    R,
    Space,
    Target,
    Vectors,
)
from index.vector_encoding import pack, stored_rows, unpack

Noun = Literal["image", "sentence"]

_NOUNS: Mapping[Target, Noun] = {"images": "image", "sentences": "sentence"}


class SqlCollection(Generic[R]):
    """The records of one kind; see `Collection` for what each method promises."""

    def __init__(self, database: Database, target: Target, to_record: Callable[[Mapping[Any, Any]], R]) -> None:
        """Work on the tables of `target`; `to_record` reads a row."""
        self._database = database
        self._target: Target = target
        self._table = schema.records[target]
        self._labels = schema.labels[target]
        self._staged = schema.staged[target]
        self._name = name_column(target)
        self._to_record = to_record
        key, vector = self._table.c.key, self._table.c.vector
        vectors = select(key, vector).order_by(key)
        meta = [
            select(schema.meta.c.value).where(schema.meta.c.name == name).scalar_subquery()
            for name in ("generation", "space_dimension")
        ]
        following = vectors.where(key > bindparam("after", type_=Integer)).limit(bindparam("most", type_=Integer))
        wanted = vectors.where(database.among(key, "keys"))
        self._stored = database.prepare(database.joined(wanted, "vector", *meta))
        self._stored_after = database.prepare(database.joined(following, "vector", *meta))
        self._columns = [column for column in self._table.c if column.name != "vector"]
        self._with_keys = database.prepare(select(*self._columns).where(database.among(key, "keys")))

    @property
    def target(self) -> Target:
        """Which collection this is."""
        return self._target

    def add(self, drafts: Sequence[Draft], space: Space, before_insert: Callable[[list[str]], None]) -> list[Added[R]]:
        """Store the drafts in one transaction; see `Collection.add`."""
        names = [draft.name for draft in drafts]

        def transaction(connection: Connection) -> list[Added[R]]:
            schema.require_space(connection, space)
            if self._target == "images":
                relations.keep_images(connection, names)
            else:
                relations.claim_sentences(connection, names)
            known = self._find(connection, names)
            first: dict[str, int] = {}
            for at, name in enumerate(names):
                if name not in known:
                    first.setdefault(name, at)
            before_insert(list(first))
            replaced: dict[str, str] = {}
            plain: list[Draft] = []
            for name, at in first.items():
                old = self._replaceable(connection, drafts[at])
                if old is None:
                    plain.append(drafts[at])
                else:
                    known[name] = self.record(relations.replace_image(connection, old, drafts[at]))
                    replaced[name] = old["sha256"]
            for draft, row in zip(plain, insert_records(connection, self._target, plain), strict=True):
                known[draft.name] = self.record(row)
                if draft.file is not None:
                    files.keep_in_place(connection, row["key"])
            if self._target == "images":
                self._note_files(connection, drafts)
            return [
                Added(known[name], created=first.get(name) == at and name not in replaced, replaced=replaced.get(name))
                for at, name in enumerate(names)
            ]

        return self._database.write(transaction)

    def _replaceable(self, connection: Connection, draft: Draft) -> Mapping[Any, Any] | None:
        """Return the row of the image that gets the content of a draft, since its only file did; None if none does."""
        if draft.file is None or (key := files.replaceable(connection, draft.file)) is None:
            return None
        return next(select_in(connection, self._columns, self._table.c.key, [key]))

    def _note_files(self, connection: Connection, drafts: Sequence[Draft]) -> None:
        """Note in which files the images of these drafts are, and of which there is a copy now."""
        columns = [self._table.c.key, self._table.c.sha256]
        rows = select_in(connection, columns, self._table.c.sha256, [draft.name for draft in drafts])
        keys = {row["sha256"]: row["key"] for row in rows}
        files.has_copy(connection, [keys[draft.name] for draft in drafts if draft.file is None])
        for draft in drafts:
            if draft.file is not None:
                files.attach(connection, draft.file, draft.name, keys[draft.name])

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
            return self.record(self.row(connection, id))

    def page(
        self,
        after: Spot | None,
        limit: int,
        filters: Filters,
        words: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
        order: Order = NEWEST_FIRST,
    ) -> list[tuple[Spot, R]]:
        """Return up to `limit` records that match with their spots in this order; see `Collection.page`."""
        table = self._table
        by_time = order.by == "taken" and self._target == "images"
        if by_time:
            query, key = self.matching(filters, words, photo, self._columns)
            stretches = stretches_by_time(query, key, after, order)
        else:  # keys first, from the labels alone: what is sorted and left out are no whole records
            query, key = self.matching(filters, words, photo)
            chosen = stretch_by_key(query, key, after, order).limit(limit).subquery()
            records = select(*self._columns).join(chosen, table.c.key == chosen.c.key)
            stretches = [stretch_by_key(records, table.c.key, None, order)]
        rows: list[Mapping[Any, Any]] = []
        with self._database.read() as connection:
            for stretch in stretches:
                if len(rows) < limit:
                    rows += connection.execute(stretch.limit(limit - len(rows))).mappings().all()
        return [(Spot(row["key"], row["taken"] if by_time else None), self.record(row)) for row in rows]

    def count(self, filters: Filters, words: Sequence[str] = (), photo: PhotoFilter = ANY_PHOTO) -> int:
        """Count the records that match."""
        query, _ = self.matching(filters, words, photo)
        with self._database.read() as connection:
            if filters or words or not photo.is_empty or self._target == "sentences":
                return int(connection.execute(query.with_only_columns(func.count())).scalar_one())
            # The database counts all rows without looking into them.
            everything = connection.execute(select(func.count()).select_from(self._table)).scalar_one()
            return int(everything) - int(connection.execute(files.count_hidden()).scalar_one())

    def update(self, id: str, change: Callable[[R], Metadata]) -> R:
        """Give one record the metadata that `change` makes of it; see `Collection.update`."""

        def transaction(connection: Connection) -> R:
            row = self.row(connection, id)
            metadata = encode_metadata(change(self.record(row)))
            replace_metadata(connection, self._target, row["key"], row["metadata"], metadata)
            return self.record({**row, "metadata": metadata})

        return self._database.write(transaction)

    def delete(self, ids: Sequence[str]) -> list[R]:
        """Delete all of these in one transaction, or none: RecordNotFound."""

        def transaction(connection: Connection) -> list[R]:
            rows = {id: self.row(connection, id) for id in ids}
            keys = [row["key"] for row in rows.values()]
            if self._target == "images":
                relations.remove_images(connection, keys)
            else:
                relations.remove_sentences(connection, keys)
            return [self.record(row) for row in rows.values()]

        return self._database.write(transaction)

    def release(self, names: Sequence[str], remove: Callable[[list[str]], None]) -> None:
        """Call `remove` with those names that no record has, while nobody else can write."""

        def transaction(connection: Connection) -> None:
            if unnamed := self._unknown(connection, names):
                schema.count_removal(connection)
                remove(unnamed)

        self._database.write(transaction)

    def removals(self) -> int:
        """Return how often `release` had anything to remove."""
        with self._database.read() as connection:
            return schema.read_removals(connection)

    def keys(self, filters: Filters, words: Sequence[str] = (), photo: PhotoFilter = ANY_PHOTO) -> Keys:
        """Return the keys of all records that match, ascending."""
        import numpy as np

        query, _ = self.matching(filters, words, photo)
        rows = self._database.gather(query)()
        return np.sort(np.fromiter((key for (key,) in rows), dtype=np.int64, count=len(rows)))

    def hidden(self) -> Keys:
        """Return the keys of images whose files are missing, ascending."""
        import numpy as np

        with self._database.read() as connection:
            return np.array(self._hidden(connection), dtype=np.int64)

    def keys_of(self, ids: Sequence[str]) -> Keys:
        """Return the keys of the records with these ids; unknown ids are left out."""
        import numpy as np

        if not ids:
            return np.empty(0, dtype=np.int64)
        with self._database.read() as connection:
            rows = select_in(connection, [self._table.c.key], self._table.c.id, ids)
            return np.fromiter((row["key"] for row in rows), dtype=np.int64)

    def records(self, keys: Keys) -> dict[int, R]:
        """Return the records with these keys; keys of deleted records are left out."""
        names = [column.name for column in self._columns]
        rows = [dict(zip(names, row, strict=True)) for row in self._with_keys(keys=self._database.many(keys.tolist()))]
        return {row["key"]: self.record(row) for row in rows}

    def columns(self, keys: Keys, *names: str) -> dict[int, tuple[Any, ...]]:
        """Return some columns of the records with these keys; keys of deleted records are left out."""
        key = self._table.c.key
        with self._database.read() as connection:
            rows = select_in(connection, [key, *(self._table.c[name] for name in names)], key, keys.tolist())
            return {row["key"]: tuple(row[name] for name in names) for row in rows}

    def vectors(self, ids: Sequence[str], space: Space) -> Vectors:
        """Return the vectors of these records, (n, D), in this order; RecordNotFound, SpaceMismatch."""
        with self._database.read() as connection:
            schema.require_space(connection, space)
            rows = select_in(connection, [self._table.c.id, self._table.c.vector], self._table.c.id, ids)
            blobs: dict[str, bytes] = {row["id"]: row["vector"] for row in rows}
        for id in ids:
            if id not in blobs:
                raise RecordNotFound(_NOUNS[self._target], id)
        try:
            return unpack([blobs[id] for id in ids], space.dimension)
        except InvalidVector as error:
            raise CatalogCorrupted(self._database.location, str(error)) from error

    def head(self) -> Position:
        """Return the position of the last change."""
        with self._database.read() as connection:
            return Position(
                generation=schema.read_state(connection).generation,
                key=connection.execute(select(func.max(self._table.c.key))).scalar_one() or 0,
                deletion=connection.execute(select(func.max(schema.deletions.c.seq))).scalar_one() or 0,
            )

    def stored(self, keys: Keys, generation: int) -> tuple[Keys, Halves]:
        """Return those of these keys that are there, and their vectors; see `Collection.stored`."""
        rows = self._stored(keys=self._database.many(keys.tolist()))
        return self._halves(rows, generation)

    def stored_after(self, key: int, limit: int, generation: int) -> tuple[Keys, Halves]:
        """Return the next keys after `key`, and their vectors; see `Collection.stored_after`."""
        return self._halves(self._stored_after(after=key, most=limit), generation)

    def anchor(self, position: Position) -> str | None:
        """Return what stands for the history up to a position; see `Collection.anchor`."""
        log = schema.deletions
        ids: list[str | None] = ["", ""]
        with self._database.read() as connection:
            if position.key:
                id = connection.execute(select(self._table.c.id).where(self._table.c.key == position.key)).scalar()
                if id is None:
                    deleted = select(log.c.id).where(log.c.target == self._target, log.c.key == position.key)
                    id = connection.execute(deleted).scalar()
                ids[0] = id
            if position.deletion:
                ids[1] = connection.execute(select(log.c.id).where(log.c.seq == position.deletion)).scalar()
        known = [id for id in ids if id is not None]
        return ":".join(known) if len(known) == len(ids) else None

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
            return [(row["key"], self.record(row)) for row in connection.execute(query).mappings()]

    def stage(self, space: Space, keys: Keys, vectors: Vectors) -> None:
        """Keep vectors of `space` for these keys until the swap; ReindexConflict for another space."""
        rows = [{"key": key, "vector": blob} for key, blob in zip(keys.tolist(), pack(vectors), strict=True)]

        def transaction(connection: Connection) -> None:
            require_staging(connection, space)
            connection.execute(self._database.insert_missing(self._staged), rows)

        self._database.write(transaction)

    def row(self, connection: Connection, id: str) -> Mapping[Any, Any]:
        """Return the row of one record, without its vector; RecordNotFound. For the modules of this package."""
        for row in select_in(connection, self._columns, self._table.c.id, [id]):
            return row
        raise RecordNotFound(_NOUNS[self._target], id)

    def by_keys(self, connection: Connection, keys: Sequence[int]) -> dict[int, R]:
        """Return the records with these keys; others are left out. For the modules of this package."""
        return {row["key"]: self.record(row) for row in select_in(connection, self._columns, self._table.c.key, keys)}

    def record(self, row: Mapping[Any, Any]) -> R:
        """Return the record of a row; CatalogCorrupted. For the modules of this package."""
        try:
            return self._to_record(row)
        except ValueError as error:
            reason = f"the metadata of the {_NOUNS[self._target]} {row['id']} is damaged ({error})"
            raise CatalogCorrupted(self._database.location, reason) from error

    def _halves(self, found: Sequence[Any], generation: int) -> tuple[Keys, Halves]:
        import numpy as np

        names, packed, current, dimension = found[0]
        if int(current) != generation:
            raise GenerationChanged
        keys = np.array(names.split(","), dtype=np.int64) if names else np.empty(0, dtype=np.int64)
        try:
            return keys, stored_rows(packed or b"", len(keys), int(dimension))
        except InvalidVector as error:
            reason = f"{self._target} with keys from {keys[0]} to {keys[-1]} have invalid vectors ({error})"
            raise CatalogCorrupted(self._database.location, reason) from error

    def matching(
        self,
        filters: Filters,
        words: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
        columns: Sequence[Column[Any]] = (),
    ) -> tuple[Select[Any], Column[Any]]:
        """Return a query for the keys, or these `columns`, of what matches, and the key column to page by.

        With filters that is the key of the first label: its primary key is ordered by it, so a page reads
        only its own rows however large the collection is. For the modules of this package.
        """
        table = self._table
        if self._target == "sentences" and not photo.is_empty:  # nothing is known of them
            return select(*(columns or [table.c.key])).select_from(table).where(false()), table.c.key
        demanded = conditions(photo)
        if not filters and not words:
            query = select(*(columns or [table.c.key])).select_from(table).where(*demanded)
            return self._found(query, table.c.key)
        labels = [self._labels.alias() for _ in filters]
        concepts = [schema.concepts.alias() for _ in words]
        aliases = [*labels, *concepts]
        key: Column[Any] = aliases[0].c.key
        source: FromClause = aliases[0]
        for other in aliases[1:]:
            source = source.join(other, other.c.key == key)
        if columns or demanded:
            source = source.join(table, table.c.key == key)
        for label, (name, value) in zip(labels, filters.items(), strict=True):
            alike = or_(*(label.c.value == one for one in sought_labels(value)))
            demanded.append(and_(label.c.name == filter_name(name), alike))
        demanded += [concept.c.word == word for concept, word in zip(concepts, words, strict=True)]
        return self._found(select(*(columns or [key])).select_from(source).where(*demanded), key)

    def _found(self, query: Select[Any], key: Column[Any]) -> tuple[Select[Any], Column[Any]]:
        """Leave images out whose files are missing."""
        return (query.where(~files.is_hidden(key)) if self._target == "images" else query), key

    def _hidden(self, connection: Connection) -> list[int]:
        return [] if self._target == "sentences" else sorted(connection.execute(files.hidden()).scalars())

    def _find(self, connection: Connection, names: Sequence[str]) -> dict[str, R]:
        rows = select_in(connection, self._columns, self._name, names)
        return {row[self._name.name]: self.record(row) for row in rows}

    def _unknown(self, connection: Connection, names: Sequence[str]) -> list[str]:
        rows = select_in(connection, [self._name], self._name, names)
        known = {row[self._name.name] for row in rows}
        return [name for name in names if name not in known]
