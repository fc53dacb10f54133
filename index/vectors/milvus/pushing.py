"""Writing a collection of the catalog to Milvus, up to where the catalog is.

What is in Milvus, and up to which position, stands in Milvus itself (`MilvusCollection.position`): all processes of a
library read it, and any of them writes on from there. Two that write at once do no harm. Keys are written with the same
vectors, in place of what is there, and each writer removes for itself what is deleted while it writes. A key that is
left over nevertheless, because a writer died, is only a candidate that the catalog does not know.

Whoever starts from nothing does so under a new name. A name never stands for less than it did: what is gone is noticed.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from index.interfaces import Catalog, Collection, Position
from index.vector_encoding import unit_rows
from index.vectors.milvus.client import CollectionLostError, MilvusCollections

LITTLE = 256
"""Records for which it is not worth writing another batch."""


@dataclass(frozen=True)
class Written:
    """A collection in Milvus, and up to where it has been written."""

    name: str
    position: Position


class Pusher:
    """Writes one collection. Not for several threads at once."""

    def __init__(self, catalog: Catalog, collection: Collection[Any], milvus: MilvusCollections) -> None:
        self._collection = collection
        self._milvus = milvus
        library = "".join(sign for sign in catalog.state().library_id if sign.isalnum())
        self._prefix = f"{milvus.name}_{library}_{collection.target}_"

    def written(self, generation: int) -> Written | None:
        """Return what Milvus has of a generation, the most of it; None if it has none of it. EngineAway."""
        names = [name for name in self._names() if name.startswith(f"{self._prefix}{generation}_")]
        found = [Written(name, position) for name in names if (position := self._position(name))]
        return max(found, key=lambda one: (one.position.key, one.name), default=None)

    def begin(self, generation: int, dimension: int) -> Written:
        """Make an empty collection for a generation. EngineAway."""
        name = f"{self._prefix}{generation}_{secrets.token_hex(4)}"
        self._milvus.create(name, dimension)
        return Written(name, Position(generation, 0, 0))

    def push(self, since: Written) -> tuple[Written, int]:
        """Write one batch of what happened since; return up to where it is then, and how many vectors were written.

        There may be much more if they were over LITTLE. CollectionLostError, EngineAway.
        """
        with closing(self._collection.feed()) as feed, closing(feed.poll(since.position)) as batches:
            batch = next(batches, None)
        if batch is None or batch.reset:
            return since, 0
        removed = batch.removed[batch.removed <= since.position.key]
        self._milvus.write(since.name, removed, batch.added, unit_rows(batch.halves, batch.dimension))
        history = str(self._collection.anchor(batch.position))
        self._milvus.write_position(since.name, batch.position, history, batch.dimension)
        return Written(since.name, batch.position), len(batch.added)

    def drop_others(self, kept: Written) -> None:
        """Remove what is of an earlier generation, or has less than `kept`. EngineAway."""
        mine = (kept.position.generation, kept.position.key, kept.name)
        for name in self._names():
            number = name.removeprefix(self._prefix).partition("_")[0]
            if name != kept.name and number.isdecimal():
                position = self._position(name)
                if (int(number), position.key if position else 0, name) < mine:
                    self._milvus.drop(name)

    def drop_all_but(self, kept: Written) -> None:
        """Remove everything else, whatever it has. EngineAway."""
        for name in self._names():
            if name != kept.name:
                self._milvus.drop(name)

    def _names(self) -> list[str]:
        return [name for name in self._milvus.names() if name.startswith(self._prefix)]

    def _position(self, name: str) -> Position | None:
        """Return up to where a collection has been written, if it is of this history."""
        try:
            found = self._milvus.position(name)
        except CollectionLostError:
            return None
        if found is None:
            return None
        position, history = found
        return position if history == str(self._collection.anchor(position)) else None
