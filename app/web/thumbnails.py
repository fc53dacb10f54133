"""Thumbnails under addresses that name their content: a grid asks for dozens at once, and caches keep them for good."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.clients import client_of
from app.http.content_response import immutable_bytes
from app.http.dependencies import ServiceDep
from app.problems import Problem

router = APIRouter()


@router.get("/thumbnails/{sha256}.jpg")
def thumbnail(request: Request, sha256: str, service: ServiceDep) -> Response:
    """The thumbnail of the photograph with this content."""
    jpeg = service.thumbnail_of(sha256, client_of(request.scope))
    if jpeg is None:
        raise Problem("not_found", "There is no such photograph; it may have been deleted.")
    return immutable_bytes(request, jpeg, etag=f"{sha256}-thumbnail", media_type="image/jpeg")


def thumbnail_url(sha256: str) -> str:
    """Where pages find the thumbnail of a content."""
    return f"/thumbnails/{sha256}.jpg"
