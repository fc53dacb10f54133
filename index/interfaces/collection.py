"""The records of one kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from index.interfaces.changes import ChangeFeed, Position
from index.types import (
    ANY_PHOTO,
    NEWEST_FIRST,
    Added,
    Concepts,
    FileInPlace,
    Filters,
    Halves,
    Keys,
    Metadata,
    Order,
    PhotoFacts,
    PhotoFilter,
    R,
    Space,
    Target,
    Vectors,
)


@dataclass(frozen=True)
class Draft:
    """A record to be. `name` is what makes it unique: the SHA-256 of an image, the text of a sentence.

    `columns` may have `id` and `created_at`, of a record that had them elsewhere. `metadata` is JSON text of
    `index.metadata.encode_metadata`; `captions` is how many an image is owed. With a `file`
    that is where its content stays.
    """

    name: str
    columns: Mapping[str, str | int | None]
    vector: Vectors
    metadata: str
    concepts: Concepts = ()
    facts: PhotoFacts | None = None
    captions: int = 0
    file: FileInPlace | None = None


@dataclass(frozen=True)
class CaptionDraft:
    """A caption to be: the sentence, and what the captioner ranked it by."""

    sentence: Draft
    score: float | None


@dataclass(frozen=True)
class Spot:
    """Where a record stands in a list: its key, and in a list by time when it was taken, if that is known.

    `taken` is in microseconds since 1970 on the clock of the place.
    """

    key: int
    taken: int | None = None


class Collection(Protocol[R]):
    """The records of one kind. Every method is thread-safe and sees what was committed before."""

    @property
    def target(self) -> Target:
        """Which collection this is."""

    def add(self, drafts: Sequence[Draft], space: Space, before_insert: Callable[[list[str]], None]) -> list[Added[R]]:
        """Store the drafts in one transaction; a name that exists, or comes again, keeps its first record.

        What exists is somebody's own from then on: the pending deletion of an image is off, and a sentence of the
        captioner loses its origin. `before_insert` gets the names about to be stored while nobody else can write, so
        what it ensures holds. SpaceMismatch if the catalog has another space by now.

        A draft with a file also notes that file. Where that file was the only one of another image, which has no copy,
        that image gets the content of the draft under a new key, and keeps its id, metadata and people's captions. A
        draft without a file says that the library has a copy from now on.
        """

    def find(self, names: Sequence[str]) -> dict[str, R]:
        """Return the records that have these names; the others are left out."""

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Return those names that no record has."""

    def get(self, id: str) -> R:
        """Return one record; RecordNotFound."""

    def page(
        self,
        after: Spot | None,
        limit: int,
        filters: Filters,
        words: Sequence[str] = (),
        photo: PhotoFilter = ANY_PHOTO,
        order: Order = NEWEST_FIRST,
    ) -> list[tuple[Spot, R]]:
        """Return up to `limit` records that match with their spots in this order, from behind the spot `after` on.

        `words` are concepts that images must have, `photo` what they must be as photographs. Sentences have neither,
        and are ordered by when they were added.
        """

    def count(self, filters: Filters, words: Sequence[str] = (), photo: PhotoFilter = ANY_PHOTO) -> int:
        """Count the records that match."""

    def update(self, id: str, change: Callable[[R], Metadata]) -> R:
        """Give one record the metadata that `change` makes of it, in one transaction; RecordNotFound, InvalidMetadata.

        Nobody else writes meanwhile. What `change` raises comes through, and nothing is changed then.
        """

    def delete(self, ids: Sequence[str]) -> list[R]:
        """Delete all of these in one transaction, or none: RecordNotFound.

        Everything that is known about them goes with them: captions, what is owed, pending deletions. A sentence of
        the captioner goes with the last image that it is a caption of.
        """

    def release(self, names: Sequence[str], remove: Callable[[list[str]], None]) -> None:
        """Call `remove` with those names that no record has, while nobody else can write."""

    def removals(self) -> int:
        """Return how often `release` had anything to remove: what was stored before is there while this is the same."""

    def keys(self, filters: Filters, words: Sequence[str] = (), photo: PhotoFilter = ANY_PHOTO) -> Keys:
        """Return the keys of all records that match, ascending."""

    def hidden(self) -> Keys:
        """Return the keys of images whose files are missing, ascending.

        Nobody finds them: `page`, `count` and `keys` leave them out, and a search has to. Their feed has them.
        """

    def keys_of(self, ids: Sequence[str]) -> Keys:
        """Return the keys of the records with these ids; unknown ids are left out."""

    def records(self, keys: Keys) -> dict[int, R]:
        """Return the records with these keys; keys of deleted records are left out."""

    def columns(self, keys: Keys, *names: str) -> dict[int, tuple[Any, ...]]:
        """Return some columns of the records with these keys; keys of deleted records are left out."""

    def vectors(self, ids: Sequence[str], space: Space) -> Vectors:
        """Return the vectors of these records, (n, D), in this order; RecordNotFound, SpaceMismatch."""

    def head(self) -> Position:
        """Return the position of the last change."""

    def stored(self, keys: Keys, generation: int) -> tuple[Keys, Halves]:
        """Return those of these keys that are there, ascending, and their vectors as they are stored, (n, D).

        GenerationChanged unless the vectors are those of this generation of the catalog.
        """

    def stored_after(self, key: int, limit: int, generation: int) -> tuple[Keys, Halves]:
        """Return the next keys after `key`, ascending, at most `limit`, and their vectors; as `stored`."""

    def anchor(self, position: Position) -> str | None:
        """Return what stands for the history up to a position, which another history has not; None if this is one.

        It is made of the random ids that its key and its deletion stand or stood for.
        """

    def feed(self) -> ChangeFeed:
        """Start to follow this collection."""

    def unstaged(self, after: int, limit: int) -> list[tuple[int, R]]:
        """Return up to `limit` pairs (key, record) with keys above `after` that have no staged vector yet."""

    def stage(self, space: Space, keys: Keys, vectors: Vectors) -> None:
        """Keep vectors of `space` for these keys until the swap; ReindexConflict for another space."""
