"""Searching with sentences, expressions and images."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.http import responses
from app.http.dependencies import FILTER_PARAMETER, FILTER_PREFIX, FiltersDep, SearchPlace, ServiceDep, read_filters
from app.http.schemas.search import ImageSearchForm, SearchAnswer, SearchBody, SearchQuery
from app.http.uploads import ImageForm, file_schema, form_body, only_file, validate
from app.search.expression import parse

router = APIRouter(prefix="/v1/search", tags=["search"])


@router.get(
    "",
    summary="Search by an expression",
    response_model=SearchAnswer,
    openapi_extra={"parameters": [FILTER_PARAMETER]},
)
def search(
    place: SearchPlace, parameters: Annotated[SearchQuery, Query()], service: ServiceDep, filters: FiltersDep
) -> Response:
    """Find images (or sentences) by a sentence, or by arithmetic such as `image:ID - blue + red`.

    A sentence without operators is embedded as a whole, and word order counts. Operands of arithmetic are
    embedded one by one, weighted and summed. Images and sentences which the query names are left out of the
    hits unless `include_query_items=true`. A page goes on where the cursor says.
    """
    result = service.search(parse(parameters.q), parameters.options(filters), place=place)
    return responses.search_response(result)


@router.post("", summary="Search by a weighted sum", response_model=SearchAnswer)
def search_terms(place: SearchPlace, body: SearchBody, service: ServiceDep) -> Response:
    """Find images (or sentences) by terms: the same as an expression, without its syntax."""
    filters = {key: value if isinstance(value, str) else json.dumps(value) for key, value in body.filters.items()}
    return responses.search_response(service.search(body.expression(), body.options(filters), place=place))


@router.post(
    "/image",
    summary="Search by an uploaded image",
    response_model=SearchAnswer,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": form_body(ImageSearchForm, {"image": file_schema("The image. It is not stored.")}),
        }
    },
)
def search_image(place: SearchPlace, form: ImageForm, service: ServiceDep) -> Response:
    """Find what is near to an uploaded image, alone or changed by an expression such as `- blue + red`.

    Filters are fields `metadata.KEY`. If the library has the same image, it is found as well.
    """
    upload = only_file(form, "image")
    filters = read_filters(form.fields)
    fields = {name: value for name, value in form.fields.items() if not name.startswith(FILTER_PREFIX)}
    parameters = validate(ImageSearchForm, fields)
    expression = None if parameters.q is None else parse(parameters.q)
    with service.reading(upload.size, place):
        image = upload.read(service.limits)
        result = service.search(expression, parameters.options(filters), image=image, place=place)
    return responses.search_response(result)
