"""Searching with sentences, expressions and images."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.embedding.batcher import Place
from app.http import responses
from app.http.clients import client_of, has_left
from app.http.dependencies import (
    FILTER_PARAMETER,
    FILTER_PREFIX,
    FiltersDep,
    SearchPlace,
    ServiceDep,
    get_service,
    metadata_filters,
    only_documented_parameters,
    read_filters,
)
from app.http.schemas.search import ImageSearchForm, SearchAnswer, SearchBody, SearchQuery
from app.http.uploads import ImageForm, file_schema, form_body, only_file, validate
from app.search.expression import Expression, parse
from app.search.results import SearchOptions
from app.service import Service

router = APIRouter(prefix="/v1/search", tags=["search"])


class _QuickRoute(APIRoute):
    """The route of `search`, which FastAPI documents, and whose parameters are read here, in the same order.

    FastAPI looks at each dependency and each field anew for every request: more CPU than all else outside the search.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""

        async def answer(request: Request) -> Response:
            await only_documented_parameters(request)
            service = await get_service(request)
            with service.admit("search", client_of(request.scope), has_left(request.scope)) as place:
                filters = await metadata_filters(request)
                parameters = validate(SearchQuery, dict(request.query_params), of="query")
                return await search(place, parameters, service, filters)

        return answer


async def search(
    place: SearchPlace, parameters: Annotated[SearchQuery, Query()], service: ServiceDep, filters: FiltersDep
) -> Response:
    """Find images (or sentences) by a sentence, or by arithmetic such as `image:ID - blue + red`.

    A sentence without operators is embedded as a whole, and word order counts. Operands of arithmetic are
    embedded one by one, weighted and summed. Images and sentences which the query names are left out of the
    hits unless `include_query_items=true`. A page goes on where the cursor says.
    """
    return await _searched(service, parse(parameters.q), parameters.options(filters), place)


router.add_api_route(
    "",
    search,
    methods=["GET"],
    summary="Search by an expression",
    response_model=SearchAnswer,
    openapi_extra={"parameters": [FILTER_PARAMETER]},
    route_class_override=_QuickRoute,
)


@router.post("", summary="Search by a weighted sum", response_model=SearchAnswer)
async def search_terms(place: SearchPlace, body: SearchBody, service: ServiceDep) -> Response:
    """Find images (or sentences) by terms: the same as an expression, without its syntax."""
    filters = {key: value if isinstance(value, str) else json.dumps(value) for key, value in body.filters.items()}
    return await _searched(service, body.expression(), body.options(filters), place)


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


async def _searched(service: Service, query: Expression, options: SearchOptions, place: Place) -> Response:
    """The answer to a search. One that may take long is made by another thread while this one goes on."""
    return await service.answer_search(query, options, place, responses.search_response)
