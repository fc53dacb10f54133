"""Results of the service to what goes over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app import results
from app.cache import Vector
from app.ingest import IngestResult
from app.mapping import Map
from app.schemas import about, captions, changes, embeddings, maps, records, search
from app.search.results import FoundHit, SearchResult
from index import CaptionRecord, ImageRecord, IndexStats, LibraryStats, SentenceRecord

_DECIMALS = 8
"""Of vector components: what single precision can tell apart in a unit vector."""


def image(record: ImageRecord) -> records.Image:
    """A stored image."""
    return records.Image(**_image_fields(record))


def sentence(record: SentenceRecord) -> records.Sentence:
    """A stored sentence."""
    return records.Sentence(**_sentence_fields(record))


def image_status(result: IngestResult) -> changes.ImageStatus:
    """What became of one file."""
    return changes.ImageStatus(
        filename=result.filename,
        status=result.status,
        image=None if result.record is None else image(result.record),
        code=result.code,
        reason=result.reason,
    )


def sentence_status(result: results.SentenceResult) -> changes.SentenceStatus:
    """What became of one sentence."""
    return changes.SentenceStatus(
        text=result.text,
        status=result.status,
        sentence=None if result.record is None else sentence(result.record),
        unknown_words=list(result.unknown_words),
        code=result.code,
        reason=result.reason,
    )


def hit(found: FoundHit) -> search.ImageHit | search.SentenceHit:
    """One hit of a search."""
    explanation = None
    if found.explanation is not None:
        explanation = [
            search.Contribution(operand=one.operand, weight=one.weight, contribution=one.contribution)
            for one in found.explanation
        ]
    common: dict[str, Any] = {"score": found.score, "confidence": found.confidence, "explanation": explanation}
    if isinstance(found.record, ImageRecord):
        return search.ImageHit(**_image_fields(found.record), **common)
    return search.SentenceHit(**_sentence_fields(found.record), **common)


def search_answer(result: SearchResult) -> search.SearchAnswer:
    """A page of hits."""
    return search.SearchAnswer(
        query=result.expression,
        target=result.target,
        hits=[hit(found) for found in result.hits],
        next_cursor=result.next_cursor,
        unknown_words=list(result.unknown_words),
        best_confidence=result.best_confidence,
    )


def caption_answer(result: results.Captions) -> captions.CaptionAnswer:
    """Captions of an image."""
    return captions.CaptionAnswer(mode=result.mode, captions=[caption(one) for one in result.captions])


def caption(one: results.RetrievedCaption | results.GeneratedCaption) -> captions.Caption:
    """A caption. Retrieved ones are ranked by similarity alone."""
    if isinstance(one, results.RetrievedCaption):
        return captions.Caption(
            text=one.text,
            score=one.similarity,
            similarity=one.similarity,
            fluency=None,
            structure=None,
            confidence=None,
            sentence_id=one.sentence_id,
        )
    return captions.Caption(
        text=one.text,
        score=one.score,
        similarity=one.similarity,
        fluency=one.fluency,
        structure=list(one.structure),
        confidence=one.confidence,
        sentence_id=None,
    )


def image_captions(stored: Sequence[CaptionRecord]) -> captions.ImageCaptions:
    """The stored captions of an image."""
    return captions.ImageCaptions(
        captions=[
            captions.StoredCaption(
                text=one.sentence.text, sentence_id=one.sentence.id, origin=one.origin, score=one.score
            )
            for one in stored
        ]
    )


def embedding_item(
    embedding: results.Embedding, *, text: str | None = None, filename: str | None = None
) -> embeddings.EmbeddingItem:
    """The vector of one text or file."""
    return embeddings.EmbeddingItem(
        text=text,
        filename=filename,
        vector=None if embedding.vector is None else floats(embedding.vector),
        unknown_words=list(embedding.unknown_words),
        code=embedding.code,
        reason=embedding.reason,
    )


def library_info(stats: LibraryStats) -> about.LibraryInfo:
    """What the library holds; without where it lies."""
    return about.LibraryInfo(
        images=stats.images,
        sentences=stats.sentences,
        content_bytes=stats.content_bytes,
        catalog_bytes=stats.catalog_bytes,
        generation=stats.generation,
        image_index=_index_info(stats.image_index),
        sentence_index=_index_info(stats.sentence_index),
    )


def floats(vector: Vector) -> list[float]:
    """A vector as numbers for JSON, without digits beyond its precision."""
    values: list[float] = np.round(vector.astype(np.float64), _DECIMALS).tolist()
    return values


def _image_fields(record: ImageRecord) -> dict[str, Any]:
    path = f"/v1/images/{record.id}"
    return {
        "id": record.id,
        "filename": record.filename,
        "media_type": record.media_type,
        "width": record.width,
        "height": record.height,
        "size": record.size,
        "sha256": record.sha256,
        "created_at": record.created_at,
        "metadata": record.metadata,
        "concepts": [records.Concept(word=one.word, score=one.score) for one in record.concepts],
        "content_url": f"{path}/content",
        "thumbnail_url": f"{path}/thumbnail",
    }


def _sentence_fields(record: SentenceRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "text": record.text,
        "created_at": record.created_at,
        "metadata": record.metadata,
    }


def _index_info(stats: IndexStats) -> about.IndexInfo:
    return about.IndexInfo(kind=stats.kind, size=stats.size, recall=stats.recall)


def map_answer(drawn: Map) -> maps.MapAnswer:
    """A map."""
    points = []
    for point in drawn.points:
        record = point.record
        points.append(
            maps.MapPoint(
                kind=point.kind,
                x=round(point.x, _DECIMALS),
                y=round(point.y, _DECIMALS),
                word=point.word,
                image_id=None if record is None else record.id,
                filename=None if record is None else record.filename,
                thumbnail_url=None if record is None else f"/v1/images/{record.id}/thumbnail",
            )
        )
    return maps.MapAnswer(
        points=points,
        explained_variance=drawn.explained,
        total_images=drawn.total,
        unknown_words=list(drawn.unknown_words),
    )
