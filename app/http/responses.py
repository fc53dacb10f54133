"""Results of the service to what goes over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from pydantic_core import to_json
from starlette.responses import Response

from app import results
from app.embedding.cache import Vector
from app.http.caption_document import caption
from app.http.schemas import about, captions, changes, embeddings, records, search, sources
from app.ingest.pipeline import IngestResult
from app.ingest.sources.following import SourceStatus
from app.maps.projection import Map
from app.search.results import FoundHit, SearchResult
from index import CaptionRecord, ImageRecord, LibraryStats, SentenceRecord, SourceFile
from model.wording import as_sentence

_DECIMALS = 8
"""Of vector components: what single precision can tell apart in a unit vector."""


def image(record: ImageRecord) -> records.Image:
    """A stored image."""
    return records.Image.model_validate(_with_links(record))


def sentence(record: SentenceRecord) -> records.Sentence:
    """A stored sentence."""
    return records.Sentence.model_validate(record)


def image_in_places(record: ImageRecord, files: Sequence[SourceFile]) -> sources.ImageInPlaces:
    """A stored image, and where it is."""
    found = [source_file(file) for file in files]
    return sources.ImageInPlaces.model_validate({**_with_links(record), "files": found})


def source(status: SourceStatus) -> sources.SourceInfo:
    """A folder in place, and what is being done about it."""
    known, progress = status.source, status.progress
    return sources.SourceInfo.model_validate(
        {
            **vars(known),
            **vars(status),
            "path": _readable(known.root),
            "reason": None if known.reason is None else _readable(known.reason),
            "progress": None if progress is None else sources.SourceProgress.model_validate(progress),
        }
    )


def source_file(file: SourceFile) -> sources.FileInSource:
    """A file in a folder in place."""
    return sources.FileInSource.model_validate({**vars(file), "path": _readable(file.path)})


def _readable(path: str) -> str:
    r"""A path as text: of bytes that are no UTF-8 each becomes `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def image_status(result: IngestResult) -> changes.ImageStatus:
    """What became of one file."""
    stored = None if result.record is None else image(result.record)
    return changes.ImageStatus.model_validate({**vars(result), "image": stored})


def sentence_status(result: results.SentenceResult) -> changes.SentenceStatus:
    """What became of one sentence."""
    return changes.SentenceStatus.model_validate({**vars(result), "sentence": result.record})


def hit(found: FoundHit) -> search.ImageHit | search.SentenceHit:
    """One hit of a search."""
    if isinstance(found.record, ImageRecord):
        return search.ImageHit.model_validate({**_with_links(found.record), **vars(found)})
    return search.SentenceHit.model_validate({**vars(found.record), **vars(found)})


def search_answer(result: SearchResult) -> search.SearchAnswer:
    """A page of hits."""
    hits = [hit(found) for found in result.hits]
    return search.SearchAnswer.model_validate({**vars(result), "query": result.expression, "hits": hits})


def search_response(result: SearchResult) -> Response:
    """A page of hits as it goes out: made here, or the framework would check it all again, and in another thread."""
    return Response(search_answer(result).model_dump_json(), media_type="application/json")


def caption_answer(result: results.Captions) -> captions.CaptionAnswer:
    """Captions of an image."""
    return captions.CaptionAnswer(mode=result.mode, captions=[caption(one) for one in result.captions])


def image_captions(stored: Sequence[CaptionRecord]) -> captions.ImageCaptions:
    """The stored captions of an image."""
    return captions.ImageCaptions(
        captions=[
            captions.StoredCaption(
                text=one.sentence.text,
                sentence=as_sentence(one.sentence.text) if one.origin == "captioner" else one.sentence.text,
                sentence_id=one.sentence.id,
                origin=one.origin,
                score=one.score,
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


def embeddings_response(model: results.ModelInfo, items: Sequence[embeddings.EmbeddingItem]) -> Response:
    """Vectors as they go out, `EmbeddingAnswer`. Others have the interpreter between two items."""
    answer = embeddings.EmbeddingAnswer(space=model.name, space_id=model.id, dimension=model.dimension, items=[])
    before, _, after = answer.model_dump_json().encode().rpartition(b"[]")
    document = b",".join([item.model_dump_json().encode() for item in items])
    return Response(b"".join([before, b"[", document, b"]", after]), media_type="application/json")


def library_info(stats: LibraryStats) -> about.LibraryInfo:
    """What the library holds; without where it lies."""
    return about.LibraryInfo.model_validate(stats)


def floats(vector: Vector) -> list[float]:
    """A vector as numbers for JSON, without digits beyond its precision."""
    values: list[float] = np.round(vector.astype(np.float64), _DECIMALS).tolist()
    return values


def map_document(drawn: Map) -> dict[str, Any]:
    """A map as `MapAnswer` has it, of plain values: five thousand models would take ten times as long."""
    places = np.round(drawn.places, _DECIMALS).tolist()
    words = [
        {"kind": "word", "x": x, "y": y, "word": word, "image_id": None, "filename": None, "thumbnail_url": None}
        for word, (x, y) in zip(drawn.words, places[: len(drawn.words)], strict=True)
    ]
    images = [
        {
            "kind": "image",
            "x": x,
            "y": y,
            "word": None,
            "image_id": id,
            "filename": filename,
            "thumbnail_url": f"/v1/images/{id}/thumbnail",
        }
        for id, filename, (x, y) in zip(
            drawn.images.ids, drawn.images.filenames, places[len(drawn.words) :], strict=True
        )
    ]
    return {
        "points": words + images,
        "explained_variance": drawn.explained,
        "total_images": drawn.total,
        "unknown_words": drawn.unknown_words,
    }


_map_documents: WeakKeyDictionary[Map, bytes] = WeakKeyDictionary()


def map_response(drawn: Map) -> Response:
    """A map as it goes out. It has thousands of points: its document is made once, and kept as long as the map is."""
    document = _map_documents.get(drawn)
    if document is None:
        document = _map_documents[drawn] = to_json(map_document(drawn))
    return Response(document, media_type="application/json")


def _with_links(record: ImageRecord) -> dict[str, Any]:
    """The fields of an image, and where HTTP has its files."""
    path = f"/v1/images/{record.id}"
    return {
        **vars(record),
        **vars(record.facts),
        "taken": None if record.facts.taken is None else record.facts.taken.isoformat(),
        "content_url": f"{path}/content",
        "thumbnail_url": f"{path}/thumbnail",
    }
