"""The map: the library's photographs in a plane, and the user's words among them. Its points come from /v1/map."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.dependencies import ServiceDep
from app.web.rendering import render

POINTS = 2_000
"""Photographs on the map at most."""

router = APIRouter()


@router.get("/map")
def map_page(request: Request, service: ServiceDep, words: str = "") -> Response:
    """The canvas. The address holds the words."""
    return render(request, "map.html", images=service.list_images(limit=1).total, words=words[:1000], limit=POINTS)
