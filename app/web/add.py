"""The page that takes photographs in. The uploads themselves are those of the API: POST /v1/images."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.authentication import forbidden, may
from app.http.dependencies import ServiceDep
from app.web.rendering import render
from model.images.formats import READABLE

router = APIRouter()


@router.get("/add")
def add_page(request: Request, service: ServiceDep) -> Response:
    """Where to drop files, and what became of them; Problem forbidden for a key that may not add any."""
    if not may(request, "write"):
        raise forbidden(request.state.key, "write")
    settings = service.settings
    by_form = settings.max_upload_bytes < settings.max_image_bytes
    return render(
        request,
        "add.html",
        images=service.list_images(limit=1).total,
        sentences=service.list_sentences(limit=1).total,
        max_bytes=min(settings.max_upload_bytes, settings.max_image_bytes),
        limit="VISEM_MAX_UPLOAD_BYTES" if by_form else "VISEM_MAX_IMAGE_BYTES",
        formats=READABLE,
        max_texts=settings.max_texts,
    )
