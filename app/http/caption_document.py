"""A caption as a document: apart from all other documents, so that describing a picture imports no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.http.schemas import captions
from index import Hit, SentenceRecord

if TYPE_CHECKING:
    from model.captioner import Caption


def caption(one: Caption | Hit) -> captions.Caption:
    """A caption that was written, or a sentence that was found: these are ranked by similarity alone."""
    if not isinstance(one, Hit):
        return captions.Caption.model_validate({**vars(one), "sentence": one.sentence, "sentence_id": None})
    if not isinstance(one.record, SentenceRecord):
        raise TypeError("Only sentences are captions.")
    return captions.Caption(
        text=one.record.text,
        sentence=one.record.text,
        score=one.score,
        similarity=one.score,
        fluency=None,
        structure=None,
        confidence=None,
        sentence_id=one.record.id,
    )
