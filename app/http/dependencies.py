"""What routes depend on: the service, and query parameters that are exactly those which are documented."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.routing import BaseRoute

from app.embedding.batcher import Lane, Place
from app.http.clients import client_of, has_left
from app.http.problem_responses import invalid_field, invalid_fields
from app.http.schemas.base import MAX_CURSOR_LENGTH, MAX_FILTERS, MAX_TEXT_LENGTH
from app.metadata import MAX_KEY_LENGTH
from app.photo_filters import CAMERA, NEAR, SINCE, TAKEN, UNTIL, FilterError, photo_filter
from app.service import Service
from index import PhotoFilter

FILTER_PREFIX = "metadata."

FILTER_PARAMETER: dict[str, Any] = {
    "name": "filters",
    "in": "query",
    "description": "Metadata which records must have: any number of parameters `metadata.KEY=VALUE`. "
    "The value is compared with the JSON value written as text: `3`, `true`, `holiday`.",
    "style": "form",
    "explode": True,
    "schema": {
        "type": "object",
        "propertyNames": {"pattern": r"^metadata\..+$"},
        "additionalProperties": {"type": "string", "maxLength": MAX_TEXT_LENGTH},
    },
    "example": {"metadata.album": "holiday"},
}
"""The OpenAPI parameter for filters: with `form` and `explode` its properties are query parameters."""

Parameters = dict[tuple[str, str], frozenset[str]]


def documented_parameters(routes: Sequence[BaseRoute]) -> Parameters:
    """The names of the query parameters of every operation, by method and path template."""
    document = get_openapi(title="parameters", version="", routes=routes)
    return {
        (method.upper(), path): frozenset(
            parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


async def only_documented_parameters(request: Request) -> None:
    """Refuse a query parameter which the operation does not have, or which comes twice; pages take any."""
    parameters: Parameters = request.app.state.parameters
    path = getattr(request.scope.get("route"), "path_format", "")
    known = parameters.get((request.method, path))
    if known is None:
        return
    with_filters = FILTER_PARAMETER["name"] in known
    names = known - {FILTER_PARAMETER["name"]}
    seen: set[str] = set()
    problems: list[tuple[str, str]] = []
    for name, _ in request.query_params.multi_items():
        is_filter = with_filters and name.startswith(FILTER_PREFIX)
        if not is_filter and name not in names:
            problems.append((name[:200], "there is no such parameter"))
        elif name in seen:
            problems.append((name[:200], "is given more than once"))
        seen.add(name)
    if problems:
        raise invalid_fields(problems)


async def metadata_filters(request: Request) -> dict[str, str]:
    """The filters among the query parameters: `metadata.album=holiday` is `{"album": "holiday"}`."""
    return read_filters(dict(request.query_params))


def read_filters(parameters: dict[str, str]) -> dict[str, str]:
    """The filters among parameters or form fields, by metadata key; Problem invalid_request."""
    filters: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if not name.startswith(FILTER_PREFIX):
            continue
        key = name.removeprefix(FILTER_PREFIX)
        if not 1 <= len(key) <= MAX_KEY_LENGTH:
            problems.append((name[:200], f"a metadata key has 1 to {MAX_KEY_LENGTH} characters"))
        elif len(value) > MAX_TEXT_LENGTH:
            problems.append((name, f"the value has more than {MAX_TEXT_LENGTH:,} characters"))
        elif len(filters) == MAX_FILTERS:
            problems.append((name, f"there are more than {MAX_FILTERS} filters"))
        else:
            filters[key] = value
    if problems:
        raise invalid_fields(problems)
    return filters


async def photo_filters(
    taken_after: Annotated[str | None, Query(description=f"{SINCE} {TAKEN}", examples=["2024-05-01"])] = None,
    taken_before: Annotated[str | None, Query(description=f"{UNTIL} {TAKEN}", examples=["2024-06-01"])] = None,
    camera: Annotated[str | None, Query(description=CAMERA, examples=["canon"])] = None,
    near: Annotated[str | None, Query(description=NEAR, examples=["52.52,13.405,5"])] = None,
) -> PhotoFilter:
    """What is asked of photographs; Problem invalid_request."""
    try:
        return photo_filter(taken_after=taken_after, taken_before=taken_before, camera=camera, near=near)
    except FilterError as error:
        raise invalid_field(error.field, str(error)) from None


async def get_service(request: Request) -> Service:
    """The service of the application."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


def place_in(lane: Lane) -> Callable[[Request, Service], AsyncIterator[Place]]:
    """A dependency that takes a place for a request before its form is read, until it is computed: Overloaded."""

    async def place(request: Request, service: ServiceDep) -> AsyncIterator[Place]:
        with service.admit(lane, client_of(request.scope), has_left(request.scope)) as taken:
            yield taken

    return place


PhotoFilterDep = Annotated[PhotoFilter, Depends(photo_filters)]
SearchPlace = Annotated[Place, Depends(place_in("search"), scope="function")]
BulkPlace = Annotated[Place, Depends(place_in("bulk"), scope="function")]
FiltersDep = Annotated[dict[str, str], Depends(metadata_filters)]
CursorQuery = Annotated[
    str | None,
    Query(
        max_length=MAX_CURSOR_LENGTH,
        description="`next_cursor` of the page before; all else must stay the same.",
        examples=["eyJrIjoyfQ"],
    ),
]
LimitQuery = Annotated[int, Query(ge=1, le=200, description="How many records a page has at most.", examples=[50])]
