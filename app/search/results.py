"""What a search takes and gives, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from index import ANY_PHOTO, ImageRecord, PhotoFilter, SentenceRecord, Target


def _no_filters() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True)
class SearchOptions:
    """How to search: `k` hits a page among `target`, after `cursor`, of at least `min_score` (a cosine).

    Hits must have the metadata of `filters`, the words of `concepts` among their concepts, and files that say what
    `photo` demands. With
    `include_query_items`, the records that the query names are found, too. `min_confidence` is a probability from 0
    to 1 and needs a bundle with a calibration. `explain` asks what each operand added to a score. `all` asks for hits
    that fit every operand, instead of their sum.
    """

    target: Target = "images"
    k: int = 10
    cursor: str | None = None
    min_score: float | None = None
    filters: Mapping[str, str] = field(default_factory=_no_filters)
    include_query_items: bool = False
    min_confidence: float | None = None
    concepts: tuple[str, ...] = ()
    photo: PhotoFilter = ANY_PHOTO
    explain: bool = False
    all: bool = False

    @property
    def goes_far(self) -> bool:
        """Whether the search may go through many records: intersections, pages far down, filters."""
        narrowed = bool(self.filters or self.concepts) or not self.photo.is_empty
        return self.all or self.cursor is not None or narrowed


@dataclass(frozen=True)
class Contribution:
    """What one operand of a query adds to the score of a hit; those of a hit add up to its score."""

    operand: str
    weight: float
    contribution: float


@dataclass(frozen=True)
class FoundHit:
    """A record that was found.

    `score` is the cosine with the query; of an intersection, the product of its probabilities.
    `confidence` is None where the bundle has no calibration, `explanation` where none was requested.
    """

    record: ImageRecord | SentenceRecord
    score: float
    confidence: float | None = None
    explanation: tuple[Contribution, ...] | None = None


@dataclass(frozen=True)
class SearchResult:
    """A page of hits, best first. `expression` is the canonical query; None when an image was all of it.

    `best_confidence` is that of the best record whatever limits were requested, on a first page; None where the
    bundle has no calibration, or there are no records.
    """

    expression: str | None
    target: Target
    hits: list[FoundHit]
    next_cursor: str | None
    unknown_words: tuple[str, ...]
    best_confidence: float | None = None
