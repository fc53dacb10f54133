"""Records and hits as what a grid or a list shows of them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from app.service import Service
from index import Hit, ImageRecord, SentenceRecord

_WORDS = 4
_NARROWEST, _WIDEST = 0.45, 3.0


@dataclass(frozen=True)
class Tile:
    """A photograph in a grid. `ratio` is width by height, within what a row can take."""

    id: str
    name: str
    description: str
    ratio: float
    score: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Line:
    """A sentence in a list."""

    id: str
    text: str
    score: float | None = None
    confidence: float | None = None


def photograph_tiles(
    service: Service, found: Sequence[Hit | ImageRecord], leave_out: Container[str] = ()
) -> list[Tile]:
    """Tiles of the photographs among these, in order, without those to be left out."""
    pairs = [(one, one.record) if isinstance(one, Hit) else (None, one) for one in found]
    images = [(hit, record) for hit, record in pairs if isinstance(record, ImageRecord) and record.id not in leave_out]
    texts = descriptions(service, [record for _, record in images])
    return [
        Tile(
            id=record.id,
            name=record.filename or "photograph",
            description=texts.get(record.id, record.filename or "photograph"),
            ratio=min(max(record.width / record.height, _NARROWEST), _WIDEST),
            score=None if hit is None else hit.score,
            confidence=getattr(hit, "confidence", None),
        )
        for hit, record in images
    ]


def sentence_lines(found: Sequence[Hit | SentenceRecord]) -> list[Line]:
    """Lines of the sentences among these, in order."""
    pairs = [(one, one.record) if isinstance(one, Hit) else (None, one) for one in found]
    return [
        Line(
            id=record.id,
            text=record.text,
            score=None if hit is None else hit.score,
            confidence=getattr(hit, "confidence", None),
        )
        for hit, record in pairs
        if isinstance(record, SentenceRecord)
    ]


def descriptions(service: Service, records: Sequence[ImageRecord]) -> dict[str, str]:
    """What is in photographs, for those who cannot see them: the words nearest to each, by id."""
    return {
        described.record.id: ", ".join(concept.word for concept in described.concepts[:_WORDS])
        for described in service.describe(records)
    }
