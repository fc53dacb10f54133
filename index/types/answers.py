"""Answers about many records: hits, pages, statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from index.errors import Part
from index.types.basics import Space
from index.types.records import ImageRecord, SentenceRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Hit:
    """One result of a search; `score` is a cosine, from -1 to 1."""

    record: ImageRecord | SentenceRecord
    score: float


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list. `next_cursor` is None on the last page.

    `total` counts what the list ranges over, on all pages: the records that match the filters; in a search
    without those excluded, and before `min_score`.
    """

    items: list[T]
    next_cursor: str | None
    total: int


@dataclass(frozen=True)
class IndexStats:
    """One vector index: how it searches (`exact`, `ivf`, …), its size, and its recall@10 (1.0 if exact).

    The recall is measured with vectors of texts against the exact answer; None until there were some. `waiting`: how
    many additions and deletions an engine on another machine has not yet, as far as this process has followed.
    """

    kind: str
    size: int
    recall: float | None
    waiting: int = 0


@dataclass(frozen=True)
class EngineState:
    """How an engine on other machines does, as seen by this process.

    `away`: calls are refused without asking it. `failures` and `retries` have been counted since the start.
    """

    part: Part
    away: bool
    failures: int
    retries: int

    def with_more(self, other: EngineState | None) -> EngineState:
        """Return this together with another state of the same engine."""
        if other is None:
            return self
        return EngineState(
            self.part, self.away or other.away, self.failures + other.failures, self.retries + other.retries
        )


@dataclass(frozen=True)
class LibraryStats:
    """What a library holds. Sizes are in bytes; `generation` counts how often it was re-embedded.

    `captions_owed` and `captions_given_up` are numbers of images.
    """

    library_id: str
    space: Space
    generation: int
    schema_version: int
    images: int
    sentences: int
    content_bytes: int
    catalog_bytes: int
    captions_owed: int
    captions_given_up: int
    image_index: IndexStats
    sentence_index: IndexStats
