"""Folders in place: looking at them, pausing, going over them again, forgetting. None can be added over HTTP."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.http import responses
from app.http.dependencies import CursorQuery, LimitQuery, ServiceDep
from app.http.schemas.base import EXAMPLE_ID
from app.http.schemas.sources import (
    SourceFilePage,
    SourceForgotten,
    SourceInfo,
    SourceList,
    SourcePatch,
    State,
)
from index import InvalidCursor

router = APIRouter(prefix="/v1/sources", tags=["sources"])

SourceId = Annotated[str, Path(description="Id of the source.", examples=[EXAMPLE_ID])]
StateQuery = Annotated[State, Query(description="Only files in this state.", examples=["refused"])]


@router.get("", summary="List sources")
def list_sources(service: ServiceDep) -> SourceList:
    """All folders in place, with what is under way. VISEM_SOURCES and `visem add --in-place` add some."""
    return SourceList(items=[responses.source(one) for one in service.sources.statuses()])


@router.get("/{source_id}", summary="A source")
def get_source(source_id: SourceId, service: ServiceDep) -> SourceInfo:
    """A folder in place."""
    return responses.source(service.sources.get(source_id))


@router.patch("/{source_id}", summary="Pause or resume a source")
def patch_source(source_id: SourceId, patch: SourcePatch, service: ServiceDep) -> SourceInfo:
    """A paused source is left alone: what is under way ends after the files at hand, and what is stored stays."""
    return responses.source(service.sources.pause(source_id, patch.paused))


@router.post("/{source_id}/rescan", status_code=202, summary="Go over a source")
def rescan(source_id: SourceId, service: ServiceDep) -> SourceInfo:
    """Go over it soon, and try refused files again. A paused source is gone over when it is resumed."""
    return responses.source(service.sources.rescan(source_id))


@router.delete("/{source_id}", summary="Forget a source")
def forget(source_id: SourceId, service: ServiceDep) -> SourceForgotten:
    """Take it out of the library, with the images that are in it alone. The files stay where they are."""
    return SourceForgotten(removed=service.sources.forget(source_id))


@router.get("/{source_id}/files", summary="Files of a source")
def list_files(
    source_id: SourceId,
    service: ServiceDep,
    state: StateQuery = "refused",
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> SourceFilePage:
    """A page of the files in a state: those that were refused and why, unless told otherwise."""
    files = service.library.sources.files(source_id, state, _path(cursor), limit + 1)
    more = len(files) > limit
    return SourceFilePage(
        items=[responses.source_file(one) for one in files[:limit]],
        next_cursor=_cursor(files[limit - 1].path) if more else None,
        total=service.library.sources.counts(source_id).get(state, 0),
    )


def _cursor(path: str) -> str:
    return base64.urlsafe_b64encode(os.fsencode(path)).decode().rstrip("=")


def _path(cursor: str | None) -> str | None:
    """The path where a page ended; InvalidCursor."""
    if cursor is None:
        return None
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor from error
    return os.fsdecode(decoded)
