"""The page that takes photographs in. The uploads themselves are those of the API: POST /v1/images."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.authentication import forbidden, may
from app.http.dependencies import ServiceDep
from app.web.rendering import render

router = APIRouter()


@router.get("/add")
def add_page(request: Request, service: ServiceDep) -> Response:
    """Where to drop files, and what became of them; Problem forbidden for a key that may not add any."""
    if not may(request, "write"):
        raise forbidden(request.state.key, "write")
    return render(
        request,
        "add.html",
        images=service.list_images(limit=1).total,
        sentences=service.list_sentences(limit=1).total,
        max_image_bytes=service.settings.max_image_bytes,
        max_texts=service.settings.max_texts,
    )
