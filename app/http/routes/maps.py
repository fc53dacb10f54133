"""A map of the library."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.http import responses
from app.http.dependencies import BulkPlace, ServiceDep
from app.http.problem_responses import invalid_field
from app.http.schemas.base import MAX_TEXT_LENGTH
from app.http.schemas.maps import MapAnswer

router = APIRouter(prefix="/v1/map", tags=["search"])

MAX_POINTS = 5_000

WordsQuery = Annotated[
    str,
    Query(
        max_length=MAX_TEXT_LENGTH,
        description="Words or phrases to put on the map, with commas between.",
        examples=["dog,cat,black dog"],
    ),
]
LimitQuery = Annotated[
    int, Query(ge=1, le=MAX_POINTS, description="Most images; of a larger library a sample is shown.", examples=[500])
]


@router.get("", summary="A map of images and words", response_model=MapAnswer)
def get_map(place: BulkPlace, service: ServiceDep, words: WordsQuery = "", limit: LimitQuery = 500) -> Response:
    """Images and words in the plane in which they differ most, by a principal component analysis.

    The same library gives the same map. Words and images are centred each by their own mean.
    """
    texts = [text.strip() for text in words.split(",") if text.strip()]
    if len(texts) > service.settings.max_texts:
        raise invalid_field("words", f"a request takes at most {service.settings.max_texts} words")
    drawn = service.map(texts, limit, place=place)
    with service.in_turn():
        return responses.map_response(drawn)
