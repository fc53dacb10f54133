"""Describing images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from app.http import responses
from app.http.dependencies import BulkPlace, ServiceDep
from app.http.problem_responses import invalid_field
from app.http.schemas.captions import CaptionAnswer, CaptionBody, CaptionParameters
from app.http.uploads import (
    Upload,
    file_schema,
    form_body,
    is_multipart,
    json_body,
    only_file,
    read_form,
    read_json,
    validate,
)

router = APIRouter(prefix="/v1/captions", tags=["captions"])


@dataclass(frozen=True)
class _CaptionRequest:
    parameters: CaptionParameters
    upload: Upload | None = None
    image_id: str | None = None
    url: str | None = None


async def _caption_request(request: Request) -> AsyncIterator[_CaptionRequest]:
    if is_multipart(request):
        async with read_form(request, "image", max_files=1) as form:
            yield _CaptionRequest(validate(CaptionParameters, form.fields), upload=only_file(form, "image"))
    else:
        body = await read_json(request, CaptionBody)
        if (body.image_id is None) == (body.url is None):
            raise invalid_field("image_id", "give either an image_id or a url")
        yield _CaptionRequest(body, image_id=body.image_id, url=body.url)


@router.post(
    "",
    summary="Describe an image",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                **form_body(CaptionParameters, {"image": file_schema("The image. It is not stored.")}),
                **json_body(CaptionBody),
            },
        }
    },
)
def caption(
    place: BulkPlace,
    asked: Annotated[_CaptionRequest, Depends(_caption_request, scope="function")],
    service: ServiceDep,
) -> CaptionAnswer:
    """Describe an uploaded image (multipart), a stored one (JSON with `image_id`), or one at an address (`url`).

    `retrieve` finds the nearest sentences of the library: the list is empty when it has none. `generate`
    needs a bundle with a captioner, and is the problem `captioner_missing` (501) otherwise.
    """
    options = asked.parameters.options()
    if asked.url is None and asked.upload is None:
        return responses.caption_answer(service.captions(options, image_id=asked.image_id, place=place))
    with service.reading(service.limits.max_bytes if asked.upload is None else asked.upload.size, place):
        upload, url = asked.upload, asked.url or ""
        image = service.fetch(url).read() if upload is None else upload.read(service.limits)
        result = service.captions(options, image=image, image_id=asked.image_id, place=place)
    return responses.caption_answer(result)
