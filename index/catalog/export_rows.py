"""A catalog at one moment, as what travels to another library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, and_, func, or_, select

from index.catalog import schema
from index.catalog.concepts import decode_concepts
from index.catalog.facts import decode_facts
from index.catalog.rows import select_in
from index.catalog.times import moment, moment_if
from index.errors import CatalogCorrupted, InvalidVector
from index.metadata import decode_metadata
from index.types import Halves
from index.types.moving import (
    Counts,
    InPlace,
    MovedCaption,
    MovedFacts,
    MovedFile,
    MovedImage,
    MovedSentence,
    MovedSource,
    Owed,
    written,
)
from index.vector_encoding import stored_rows

_BATCH = 256
_CAPTIONS = 2000
"""How many captions of one sentence stand in a line: whoever reads one has it in memory."""


class SqlSnapshot:
    """A catalog as one connection sees it; see `Snapshot` for what each method promises."""

    def __init__(self, connection: Connection, location: str) -> None:
        """Look at the catalog through a connection for which its moment stands still."""
        self._connection = connection
        self._location = location
        self.state = schema.read_state(connection)
        self.counts = Counts(
            images=self._count(schema.images),
            sentences=self._count(schema.sentences),
            captions=self._count(schema.captions),
            sources=self._count(schema.sources),
            files=self._count(schema.source_files),
        )
        rows = connection.execute(select(schema.sources).order_by(schema.sources.c.key)).mappings()
        self._sources = {row["key"]: _source(row) for row in rows}

    def sources(self) -> list[MovedSource]:
        """Return the folders in place."""
        return list(self._sources.values())

    def images(self) -> Iterator[tuple[list[MovedImage], Halves]]:
        """Yield images with their files, and their vectors."""
        table = schema.images
        for rows in self._batches(table):
            keys = [row["key"] for row in rows]
            owed = self._by_image(schema.captions_owed, keys)
            due = self._by_image(schema.pending_deletions, keys)
            in_place = self._by_image(schema.images_in_place, keys)
            files: dict[int, list[MovedFile]] = defaultdict(list)
            of = schema.source_files
            for row in select_in(self._connection, list(of.c), of.c.image, keys):
                files[row["image"]].append(self._file(row))
            images = [
                _image(row, owed.get(key), due.get(key), in_place.get(key), files.get(key, ()))
                for key, row in zip(keys, rows, strict=True)
            ]
            yield images, self._vectors(rows)

    def files(self) -> Iterator[list[MovedFile]]:
        """Yield what is known of files of no image."""
        table = schema.source_files
        query = select(table).where(table.c.image.is_(None)).order_by(table.c.source, table.c.path).limit(_BATCH)
        batch: list[MovedFile] = []
        for row in self._pages(query, table.c.source, table.c.path):
            batch.append(self._file(row))
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def sentences(self) -> Iterator[tuple[list[MovedSentence], Halves]]:
        """Yield sentences with the captions that they are, and their vectors."""
        lines: list[MovedSentence] = []
        rows: list[Mapping[Any, Any]] = []
        captions = 0
        for line, row in self._sentence_lines():
            lines.append(line)
            rows.append(row)
            captions += len(line.captions)
            if len(lines) == _BATCH or captions >= _CAPTIONS:
                yield lines, self._vectors(rows)
                lines, rows, captions = [], [], 0
        if lines:
            yield lines, self._vectors(rows)

    def _sentence_lines(self) -> Iterator[tuple[MovedSentence, Mapping[Any, Any]]]:
        for rows in self._batches(schema.sentences):
            captions = self._captions(rows[0]["key"], rows[-1]["key"])
            waiting = next(captions, None)
            for row in rows:
                found: list[MovedCaption] = []
                continued = False
                while waiting is not None and waiting[0] == row["key"]:
                    if len(found) == _CAPTIONS:
                        yield _sentence(row, found, continued), row
                        found, continued = [], True
                    found.append(waiting[1])
                    waiting = next(captions, None)
                yield _sentence(row, found, continued), row

    def _captions(self, first: int, last: int) -> Iterator[tuple[int, MovedCaption]]:
        """Yield keys of sentences in this range, ascending, and captions that they are, some in memory at a time."""
        table, images = schema.captions, schema.images
        query = (
            select(table, images.c.sha256)
            .join(images, images.c.key == table.c.image)
            .where(table.c.sentence.between(first, last))
            .order_by(table.c.sentence, table.c.image)
            .limit(_CAPTIONS)
        )
        for row in self._pages(query, table.c.sentence, table.c.image):
            caption = MovedCaption(image=row["sha256"], origin=row["origin"], place=row["place"], score=row["score"])
            yield row["sentence"], caption

    def _pages(self, query: Select[Any], first: Column[Any], second: Column[Any]) -> Iterator[Mapping[Any, Any]]:
        """Yield the rows of a query that is ordered by two columns and has a limit, page after page."""
        rows = self._connection.execute(query).mappings().all()
        while rows:
            yield from rows
            at, beside = rows[-1][first.name], rows[-1][second.name]
            behind = query.where(or_(first > at, and_(first == at, second > beside)))
            rows = self._connection.execute(behind).mappings().all()

    def _batches(self, table: Table) -> Iterator[Sequence[Mapping[Any, Any]]]:
        query = select(table).order_by(table.c.key).limit(_BATCH)
        last = -1
        while rows := self._connection.execute(query.where(table.c.key > last)).mappings().all():
            last = rows[-1]["key"]
            yield rows

    def _by_image(self, table: Table, keys: Sequence[int]) -> dict[int, Mapping[Any, Any]]:
        return {row["image"]: row for row in select_in(self._connection, list(table.c), table.c.image, keys)}

    def _count(self, table: Table) -> int:
        return int(self._connection.execute(select(func.count()).select_from(table)).scalar_one())

    def _file(self, row: Mapping[Any, Any]) -> MovedFile:
        return MovedFile(
            source=self._sources[row["source"]].id,
            path=written(row["path"]),
            **{name: row[name] for name in ("size", "mtime_ns", "inode", "state", "sha256", "code", "reason")},
        )

    def _vectors(self, rows: Sequence[Mapping[Any, Any]]) -> Halves:
        try:
            return stored_rows(b"".join(row["vector"] for row in rows), len(rows), self.state.space.dimension)
        except InvalidVector as error:
            reason = f"records from {rows[0]['id']} to {rows[-1]['id']} have invalid vectors ({error})"
            raise CatalogCorrupted(self._location, reason) from error


def _image(
    row: Mapping[Any, Any],
    owed: Mapping[Any, Any] | None,
    due: Mapping[Any, Any] | None,
    in_place: Mapping[Any, Any] | None,
    files: Sequence[MovedFile],
) -> MovedImage:
    plain = ("id", "sha256", "filename", "media_type", "width", "height", "size")
    return MovedImage(
        **{name: row[name] for name in plain},
        created_at=moment(row["created_at"]),
        metadata=decode_metadata(row["metadata"]),
        concepts=decode_concepts(row["concepts"]),
        facts=MovedFacts.of(decode_facts(row)) if row["facts_read"] else None,
        captions_owed=None if owed is None else Owed(count=owed["count"], attempts=owed["attempts"]),
        deletion_due=None if due is None else moment(due["due"]),
        in_place=None if in_place is None else InPlace(missing_since=moment_if(in_place["missing_since"])),
        files=tuple(files),
    )


def _sentence(row: Mapping[Any, Any], captions: Sequence[MovedCaption], continued: bool) -> MovedSentence:
    return MovedSentence(
        id=row["id"],
        text=row["text"],
        created_at=moment(row["created_at"]),
        metadata=decode_metadata(row["metadata"]),
        origin=row["origin"],
        captions=tuple(captions),
        continued=continued,
    )


def _source(row: Mapping[Any, Any]) -> MovedSource:
    return MovedSource(id=row["id"], root=written(row["root"]))
