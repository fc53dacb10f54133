"""Storing, listing and deleting sentences."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from app.http import responses
from app.http.dependencies import FILTER_PARAMETER, BulkPlace, CursorQuery, FiltersDep, LimitQuery, ServiceDep
from app.http.problem_responses import invalid_field
from app.http.schemas.base import EXAMPLE_ID
from app.http.schemas.changes import NewSentences, SentencesAdded
from app.http.schemas.records import Sentence, SentencePage
from app.problems import Problem

router = APIRouter(prefix="/v1/sentences", tags=["sentences"])

SentenceId = Annotated[str, Path(description="Id of the sentence.", examples=[EXAMPLE_ID])]


@router.post("", summary="Store sentences")
def add_sentences(place: BulkPlace, body: NewSentences, service: ServiceDep) -> SentencesAdded:
    """Store one sentence (`text`) or several (`texts`). The answer is 200 with a status for each, in order.

    White space is normalised. A sentence of which the model knows no word is `rejected`; when all are,
    nothing is stored and the answer is the problem `sentences_rejected` (422).
    """
    texts = body.all_texts
    if len(texts) > service.settings.max_texts:
        raise invalid_field("texts", f"a request takes at most {service.settings.max_texts} sentences")
    results = [responses.sentence_status(result) for result in service.add_sentences(texts, body.metadata, place=place)]
    statuses = [result.status for result in results]
    if statuses.count("rejected") == len(results):
        errors = [{"text": one.text, "code": one.code, "reason": one.reason} for one in results]
        raise Problem("sentences_rejected", f"{results[0].text[:100]}: {results[0].reason}", errors=errors)
    return SentencesAdded(
        results=results,
        created=statuses.count("created"),
        duplicates=statuses.count("duplicate"),
        rejected=statuses.count("rejected"),
    )


@router.get("", summary="List sentences", openapi_extra={"parameters": [FILTER_PARAMETER]})
def list_sentences(
    service: ServiceDep, filters: FiltersDep, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> SentencePage:
    """A page of sentences, newest first, filtered by metadata."""
    page = service.list_sentences(cursor, limit, filters)
    items = [responses.sentence(record) for record in page.items]
    return SentencePage(items=items, next_cursor=page.next_cursor, total=page.total)


@router.get("/{sentence_id}", summary="A sentence")
def get_sentence(sentence_id: SentenceId, service: ServiceDep) -> Sentence:
    """The record of a sentence."""
    return responses.sentence(service.get_sentence(sentence_id))


@router.delete("/{sentence_id}", status_code=204, response_class=Response, summary="Delete a sentence")
def delete_sentence(sentence_id: SentenceId, service: ServiceDep) -> None:
    """Delete a sentence. It is gone from the next search."""
    service.delete_sentence(sentence_id)
