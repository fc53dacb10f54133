"""Records and hits as what a grid or a list shows of them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.search.results import FoundHit
from app.web.thumbnails import thumbnail_url
from index import ImageRecord, SentenceRecord
from model.wording import as_sentence

_WORDS = 4
_NARROWEST, _WIDEST = 0.45, 3.0


@dataclass(frozen=True)
class Tile:
    """A photograph in a grid. `ratio` is width by height, within what a row can take."""

    id: str
    name: str
    description: str
    ratio: float
    thumbnail: str
    taken: datetime | None = None
    score: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Line:
    """A sentence in a list."""

    id: str
    text: str
    score: float | None = None
    confidence: float | None = None


def photograph_tiles(found: Sequence[FoundHit | ImageRecord], leave_out: Container[str] = ()) -> list[Tile]:
    """Tiles of the photographs among these, in order, without those to be left out."""
    pairs = [(one, one.record) if isinstance(one, FoundHit) else (None, one) for one in found]
    return [
        Tile(
            id=record.id,
            name=record.filename or "photograph",
            description=description(record),
            ratio=min(max(record.width / record.height, _NARROWEST), _WIDEST),
            thumbnail=thumbnail_url(record.sha256),
            taken=record.facts.taken,
            score=None if hit is None else hit.score,
            confidence=None if hit is None else hit.confidence,
        )
        for hit, record in pairs
        if isinstance(record, ImageRecord) and record.id not in leave_out
    ]


def sentence_lines(found: Sequence[FoundHit | SentenceRecord]) -> list[Line]:
    """Lines of the sentences among these, in order."""
    pairs = [(one, one.record) if isinstance(one, FoundHit) else (None, one) for one in found]
    return [
        Line(
            id=record.id,
            text=record.text,
            score=None if hit is None else hit.score,
            confidence=None if hit is None else hit.confidence,
        )
        for hit, record in pairs
        if isinstance(record, SentenceRecord)
    ]


def description(record: ImageRecord) -> str:
    """What is in a photograph, for those who cannot see it: the words nearest to it."""
    words = ", ".join(concept.word for concept in record.concepts[:_WORDS])
    return as_sentence(words) or record.filename or "Photograph"
