"""Vectors for those who want to do something else with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.embedding.batcher import Place
from app.http import responses
from app.http.dependencies import BulkPlace, ServiceDep
from app.http.problem_responses import invalid_field
from app.http.schemas.embeddings import EmbeddingAnswer, EmbeddingBody, EmbeddingItem
from app.http.uploads import (
    Form,
    files_schema,
    form_body,
    is_multipart,
    json_body,
    read_form,
    read_json,
)
from app.problems import Problem
from app.service import Service

router = APIRouter(prefix="/v1/embeddings", tags=["embeddings"])


async def _embedding_request(request: Request) -> AsyncIterator[Form | EmbeddingBody]:
    if is_multipart(request):
        async with read_form(request, "files", request.app.state.settings.max_files) as form:
            yield form
    else:
        yield await read_json(request, EmbeddingBody)


@router.post(
    "",
    summary="Embed texts or images",
    response_model=EmbeddingAnswer,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                **json_body(EmbeddingBody),
                **form_body(
                    None,
                    {"files": files_schema()},
                ),
            },
        }
    },
)
def embed(
    place: BulkPlace,
    asked: Annotated[Form | EmbeddingBody, Depends(_embedding_request, scope="function")],
    service: ServiceDep,
) -> Response:
    """Embed texts (JSON) or image files (multipart) into the joint space; nothing is stored.

    Each item has a unit vector, or the code and reason why there is none. When no item has one, the answer is
    the problem `texts_rejected` or `images_rejected` (422).
    """
    items = _texts(asked, service, place) if isinstance(asked, EmbeddingBody) else _files(asked, service, place)
    if all(item.vector is None for item in items):
        code = "texts_rejected" if isinstance(asked, EmbeddingBody) else "images_rejected"
        first = items[0]
        errors = [_error(item) for item in items]
        raise Problem(code, f"{(first.text or first.filename or 'unnamed file')[:100]}: {first.reason}", errors=errors)
    with service.in_turn():
        return responses.embeddings_response(service.model(), items)


def _texts(body: EmbeddingBody, service: Service, place: Place) -> list[EmbeddingItem]:
    if len(body.texts) > service.settings.max_texts:
        raise invalid_field("texts", f"a request takes at most {service.settings.max_texts} texts")
    embedded = service.embed_texts(body.texts, place=place)
    return [responses.embedding_item(one, text=text) for text, one in zip(body.texts, embedded, strict=True)]


def _files(form: Form, service: Service, place: Place) -> list[EmbeddingItem]:
    if form.fields:
        raise invalid_field(next(iter(form.fields)), "there is no such field")
    if not form.files:
        raise invalid_field("files", "is required: send at least one file")
    embedded = service.embed_images((upload.try_read(service.limits) for upload in form.files), place=place)
    return [
        responses.embedding_item(one, filename=upload.name) for upload, one in zip(form.files, embedded, strict=True)
    ]


def _error(item: EmbeddingItem) -> dict[str, str | None]:
    subject = {"text": item.text} if item.text is not None else {"filename": item.filename}
    return {**subject, "code": item.code, "reason": item.reason}
