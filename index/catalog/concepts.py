"""The concepts of images: the words nearest to each, kept with its record and in a table for filters."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Connection, delete, insert, select, update

from index.catalog import schema
from index.catalog.database import Database
from index.concepts import checked_concepts
from index.errors import CatalogCorrupted, InvalidVector
from index.types import Concept, Concepts, NameConcepts, Space
from index.vector_encoding import unpack

_BATCH = 1024
_NONE = "[]"


def encode_concepts(concepts: Concepts) -> str:
    """Return the concepts as JSON: pairs of word and cosine."""
    return json.dumps(concepts, ensure_ascii=False, separators=(",", ":"))


def decode_concepts(text: str) -> Concepts:
    """Return what `encode_concepts` made into text."""
    return tuple(Concept(word, score) for word, score in cast(list[tuple[str, float]], json.loads(text)))


def insert_concepts(connection: Connection, images: Sequence[tuple[int, Concepts]]) -> None:
    """Let filters find images by their concepts: pairs of key and concepts."""
    rows = [{"word": concept.word, "key": key} for key, concepts in images for concept in concepts]
    if rows:
        connection.execute(insert(schema.concepts), rows)


def remove_concepts(connection: Connection, key: int, concepts: Concepts) -> None:
    """Let filters find the image no more: each row by its whole primary key."""
    table = schema.concepts
    for concept in concepts:
        connection.execute(delete(table).where(table.c.word == concept.word, table.c.key == key))


def clear_concepts(connection: Connection) -> None:
    """Take the concepts of all images."""
    connection.execute(delete(schema.concepts))
    connection.execute(update(schema.images).values(concepts=_NONE))


def fill_missing(database: Database, space: Space, name: NameConcepts) -> int:
    """Give concepts to the images that have none, some in a transaction; return how many there were.

    SpaceMismatch if the vectors are not of `space`: the words would mean nothing.
    """
    table = schema.images
    query = select(table.c.key, table.c.vector).where(table.c.concepts == _NONE).order_by(table.c.key).limit(_BATCH)
    filled = 0

    def fill(connection: Connection) -> int:
        schema.require_space(connection, space)
        rows: Sequence[Any] = connection.execute(query).all()
        if not rows:
            return 0
        try:
            vectors = unpack([row.vector for row in rows], space.dimension)
        except InvalidVector as error:
            raise CatalogCorrupted(database.location, str(error)) from error
        for row, pairs in zip(rows, name(vectors), strict=True):
            concepts = checked_concepts(pairs)
            if not concepts:
                raise ValueError("an image has at least one concept")
            connection.execute(update(table).where(table.c.key == row.key).values(concepts=encode_concepts(concepts)))
            insert_concepts(connection, [(row.key, concepts)])
        return len(rows)

    with database.read() as connection:
        if connection.execute(query.limit(1)).first() is None:  # without waiting for whoever writes
            return 0
    while count := database.write(fill):
        filled += count
    return filled


def concept_problems(connection: Connection) -> list[str]:
    """Return the images whose concepts filters see differently, a sentence each."""
    filed: dict[int, set[str]] = defaultdict(set)
    for row in connection.execute(select(schema.concepts)):
        filed[row.key].add(row.word)
    found: list[str] = []
    table = schema.images
    for row in connection.execute(select(table.c.key, table.c.id, table.c.concepts)):
        try:
            words = {concept.word for concept in decode_concepts(row.concepts)}
        except (ValueError, TypeError):
            found.append(f"images: {row.id} has invalid concepts")
            filed.pop(row.key, None)
            continue
        if filed.pop(row.key, set()) != words:
            found.append(f"images: the concept filters of {row.id} do not match its concepts")
    return found + [f"images: there are concept filters for the key {key} without a record" for key in filed]
