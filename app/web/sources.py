"""The page of folders in place: what is under way, what was refused and why, and how to pause it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.http import responses
from app.http.dependencies import ServiceDep
from app.http.schemas.sources import FileInSource
from app.service import Service
from app.web.rendering import render

SHOWN = 50
"""Files that are listed of each kind; the API has all."""

router = APIRouter(prefix="/sources")


@router.get("")
def sources_page(request: Request, service: ServiceDep) -> Response:
    """All sources. htmx asks for the part that changes again, every few seconds."""
    part = "hx-request" in request.headers
    statuses = service.sources.statuses()
    return render(
        request,
        "source_list.html" if part else "sources.html",
        sources=[responses.source(one) for one in statuses],
        refused={one.source.id: _files(service, one.source.id) for one in statuses if one.files.get("refused")},
        missing_days=service.settings.missing_days,
    )


@router.post("/{source_id}/pause")
def pause(source_id: str, service: ServiceDep) -> Response:
    """Leave a source alone."""
    service.sources.pause(source_id, True)
    return RedirectResponse("/sources", 303)


@router.post("/{source_id}/resume")
def resume(source_id: str, service: ServiceDep) -> Response:
    """Go on."""
    service.sources.pause(source_id, False)
    return RedirectResponse("/sources", 303)


@router.post("/{source_id}/rescan")
def rescan(source_id: str, service: ServiceDep) -> Response:
    """Go over a source soon."""
    service.sources.rescan(source_id)
    return RedirectResponse("/sources", 303)


def _files(service: Service, source_id: str) -> list[FileInSource]:
    return [responses.source_file(one) for one in service.library.sources.files(source_id, "refused", limit=SHOWN)]
