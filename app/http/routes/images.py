"""Storing, listing, changing and serving images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.addresses import MAX_URL_LENGTH
from app.concepts import split_concepts
from app.http import responses
from app.http.clients import client_of
from app.http.content_response import immutable_file, original_file, original_headers
from app.http.dependencies import (
    FILTER_PARAMETER,
    BulkPlace,
    CursorQuery,
    FiltersDep,
    LimitQuery,
    PhotoFilterDep,
    ServiceDep,
)
from app.http.middleware import is_head
from app.http.problem_responses import invalid_field
from app.http.schemas.base import EXAMPLE_ID, MAX_TEXT_LENGTH, Input
from app.http.schemas.changes import ImagePatch, ImagesAdded
from app.http.schemas.records import Image, ImagePage
from app.http.schemas.sources import ImageInPlaces
from app.http.uploads import Form, content_type, files_schema, form_body, json_body, read_form, read_json, validate
from app.ingest.pipeline import IncomingFile
from app.metadata import check_metadata, parse_metadata
from app.problems import Problem
from index import Order

router = APIRouter(prefix="/v1/images", tags=["images"])

ImageId = Annotated[str, Path(description="Id of the image.", examples=[EXAMPLE_ID])]

ConceptQuery = Annotated[
    str | None,
    Query(
        max_length=MAX_TEXT_LENGTH,
        description="Only images with this word among their concepts; several, with commas between, for all of them.",
        examples=["dog"],
    ),
]

SortQuery = Annotated[
    Literal["added", "taken"],
    Query(description="By when the images were added, or by when they were taken.", examples=["taken"]),
]
OrderQuery = Annotated[
    Literal["desc", "asc"], Query(description="The latest first, or the earliest first.", examples=["desc"])
]

_FILE_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The file; ETag and ranges are supported. Only a file in place can have other bytes later.",
        "content": {"image/*": {}},
    },
    206: {"description": "The requested range of the file."},
    304: {"description": "The client has the file already."},
}

_CONTENT_RESPONSES: dict[int | str, dict[str, object]] = {
    **_FILE_RESPONSES,
    307: {"description": "Where the file is for some minutes. Only with VISEM_S3_PRESIGNED=on."},
}


CaptionCount = Annotated[
    int | None,
    Field(
        ge=0,
        le=20,
        description="How many captions each new image gets in the background, stored as sentences with the metadata "
        "`origin: captioner`. Without it: as VISEM_CAPTION_IMAGES says.",
        examples=[1],
    ),
]


class ImagesForm(Input):
    """The fields of an upload beside the files."""

    metadata: str = Field(
        "{}",
        description="A JSON object, stored with every new image.",
        examples=['{"album": "holiday", "year": 2024}'],
    )
    captions: CaptionCount = None


class ImageByAddress(Input):
    """An image that is fetched."""

    url: str = Field(
        min_length=1,
        max_length=MAX_URL_LENGTH,
        description="An http or https address of the public internet. Only with VISEM_FETCH=on.",
        examples=["https://example.org/beach.jpg"],
    )
    metadata: dict[str, Any] = Field(
        {}, description="Stored with the image, if it is new.", examples=[{"album": "holiday"}]
    )
    captions: CaptionCount = None


async def _upload(request: Request) -> AsyncIterator[Form | ImageByAddress]:
    if content_type(request) == "application/json" and request.app.state.settings.fetch == "on":
        yield await read_json(request, ImageByAddress)
        return
    if content_type(request) == "application/json":
        raise Problem(
            "unsupported_media_type",
            "Send a form with Content-Type: multipart/form-data. Images by address (JSON) need VISEM_FETCH=on.",
        )
    async with read_form(request, "files", request.app.state.settings.max_files) as form:
        yield form


@router.post(
    "",
    summary="Store images",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {**form_body(ImagesForm, {"files": files_schema()}), **json_body(ImageByAddress)},
        }
    },
)
def add_images(
    place: BulkPlace,
    asked: Annotated[Form | ImageByAddress, Depends(_upload, scope="function")],
    service: ServiceDep,
) -> ImagesAdded:
    """Store one or many images: those of a form, or the one at an address (JSON).

    The answer is 200 with a status for each file, in order.

    `created` is stored and searchable, `duplicate` had been stored before (the record is that of the first
    time, its metadata stay), `rejected` is not stored, and `code` and `reason` say why. When every file is
    rejected nothing is stored and the answer is the problem `images_rejected` (422) with the same list as
    `errors`.
    """
    incoming: Iterable[IncomingFile]
    try:
        if isinstance(asked, ImageByAddress):
            captions, metadata = asked.captions, check_metadata(asked.metadata)
            incoming = map(service.fetch, [asked.url])  # when there is room for it
        else:
            if not asked.files:
                raise invalid_field("files", "is required: send at least one file")
            fields = validate(ImagesForm, asked.fields)
            captions, metadata = fields.captions, parse_metadata(fields.metadata)
            incoming = (IncomingFile(upload.name, upload.try_read(service.limits)) for upload in asked.files)
    except ValueError as error:
        raise invalid_field("metadata", str(error)) from None
    stored = service.ingest(incoming, metadata, captions=captions, place=place, stop=place.left)
    results = [responses.image_status(result) for result in stored]
    rejected = [result for result in results if result.status == "rejected"]
    if rejected and len(rejected) == len(results):
        first = rejected[0]
        detail = f"{first.filename or 'unnamed file'}: {first.reason}"
        if len(rejected) > 1:
            detail = f"All {len(rejected)} files were rejected; the first: {detail}"
        errors = [{"filename": one.filename, "code": one.code, "reason": one.reason} for one in rejected]
        raise Problem("images_rejected", detail, errors=errors)
    statuses = [result.status for result in results]
    return ImagesAdded(
        results=results,
        created=statuses.count("created"),
        duplicates=statuses.count("duplicate"),
        rejected=len(rejected),
    )


@router.get("", summary="List images", openapi_extra={"parameters": [FILTER_PARAMETER]})
def list_images(
    service: ServiceDep,
    filters: FiltersDep,
    photo: PhotoFilterDep,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
    concept: ConceptQuery = None,
    sort: SortQuery = "added",
    order: OrderQuery = "desc",
) -> ImagePage:
    """A page of images with their concepts, newest first, filtered by metadata, concepts and what their files say.

    `sort=taken` orders them by when they were taken, on the clock of the place. Those of which that is not known come
    last, whatever the direction.
    """
    page = service.list_images(
        cursor, limit, filters, split_concepts(concept), photo, Order(sort, ascending=order == "asc")
    )
    items = [responses.image(record) for record in page.items]
    return ImagePage(items=items, next_cursor=page.next_cursor, total=page.total)


@router.get("/{image_id}", summary="An image")
def get_image(image_id: ImageId, service: ServiceDep) -> ImageInPlaces:
    """The record of an image with its concepts, and where its files are, if those are in folders in place."""
    return responses.image_in_places(service.get_image(image_id), service.image_files(image_id))


@router.patch("/{image_id}", summary="Change the metadata of an image")
def patch_image(image_id: ImageId, patch: ImagePatch, service: ServiceDep) -> Image:
    """Apply a JSON merge patch (RFC 7396) to the metadata: keys are set, null removes one, the rest stays."""
    return responses.image(service.patch_image(image_id, patch.metadata))


@router.delete("/{image_id}", status_code=204, response_class=Response, summary="Delete an image")
def delete_image(image_id: ImageId, service: ServiceDep) -> None:
    """Delete an image with its file. It is gone from the next search."""
    service.delete_image(image_id)


@router.get(
    "/{image_id}/content", summary="The file of an image", response_class=Response, responses=_CONTENT_RESPONSES
)
def get_content(image_id: ImageId, request: Request, service: ServiceDep) -> Response:
    """The file as it was uploaded, byte for byte, with the media type which its content has.

    With VISEM_S3_PRESIGNED=on a file on S3 is read there: the answer is a redirect to a URL that needs no key and is
    valid for five minutes.
    """
    url = None if is_head(request) else service.content_url(image_id, original_headers)
    if url is not None:
        return RedirectResponse(url, 307, {"Cache-Control": "no-store"})
    return original_file(request, service.image_content(image_id))


@router.get(
    "/{image_id}/thumbnail",
    summary="A thumbnail of an image",
    response_class=Response,
    responses=_FILE_RESPONSES,
)
def get_thumbnail(image_id: ImageId, request: Request, service: ServiceDep) -> Response:
    """A small upright JPEG version of the image, without its metadata."""
    file = service.image_thumbnail(image_id, client_of(request.scope))
    record = file.record
    name = f"{PurePath(record.filename or record.id).stem}.jpg"
    return immutable_file(request, file, etag=f"{record.sha256}-thumbnail", filename=name)
