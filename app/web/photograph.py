"""A photograph: large, in words, among its neighbours, with what people noted about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter
from fastapi import Form as Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.http import responses
from app.http.content_response import cache_control, original_file
from app.http.dependencies import ServiceDep
from app.http.problem_responses import as_problem
from app.problems import Problem
from app.results import CaptionOptions, Captions
from app.search.expression import Expression, Operand, QueryError, Reference, Text
from app.search.results import SearchOptions
from app.web import image_captions
from app.web.deletions import Deletions
from app.web.metadata import read_changes, recall, remember, rows
from app.web.photo_ranges import day_url, long_time
from app.web.rendering import render
from app.web.thumbnails import thumbnail_url
from app.web.tiles import Tile, description, photograph_tiles
from app.web.view import View
from index import CaptionRecord, ImageRecord, LibraryError, PhotoFacts
from model.errors import ModelError

NEIGHBOURS = 24
CAPTIONS = 5

BROWSERS_SHOW = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/avif"})
"""Formats that every browser shows. Others are converted for the page."""

_VIEW_SIDE = 2048

_NEAR = 2  # kilometres: photographs of the same place

router = APIRouter(prefix="/photos/{image_id}")


@dataclass(frozen=True)
class Fact:
    """Something that the file says: its name, what it is, and the search for photographs that are alike in it."""

    name: str
    value: str
    url: str | None = None


@router.get("")
def photograph_page(request: Request, image_id: str, service: ServiceDep) -> Response:
    """The photograph. Captions and neighbours follow by requests of their own, so that it is there at once."""
    record = service.get_image(image_id)
    captions = service.image_captions(image_id)
    shown = record.media_type in BROWSERS_SHOW
    return render(
        request,
        "photograph.html",
        record=record,
        concepts=record.concepts,
        facts=_facts(record.facts),
        alt=_alternative_text(record, captions),
        rows=rows(record.metadata),
        was=remember(record.metadata),
        saved=False,
        thumbnail=thumbnail_url(record.sha256),
        source=f"/photos/{image_id}/{'content' if shown else 'view'}",
        image_id=image_id,
        files=[responses.source_file(file) for file in service.image_files(image_id)],
        **image_captions.context(captions),
    )


@router.get("/content")
def original(request: Request, image_id: str, service: ServiceDep) -> Response:
    """The file. Unlike that of the API it always comes from here, since pages may load nothing from elsewhere."""
    return original_file(request, service.image_content(image_id))


@router.get("/view")
def converted(image_id: str, service: ServiceDep) -> Response:
    """The photograph as a JPEG, for formats which browsers do not show."""
    with service.image_content(image_id) as file:
        data, caching = file.content.read(), cache_control(file)
    jpeg = service.jpeg(data, _VIEW_SIDE)
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": caching})


@router.get("/captions")
def captions(request: Request, image_id: str, service: ServiceDep, structure: str = "") -> Response:
    """The photograph in sentences: new ones where the model can write, and the nearest of the library."""
    wanted = " ".join(structure.split())
    problem: Problem | None = None
    written: Captions | None = None
    nearest = service.captions(CaptionOptions(CAPTIONS, "retrieve"), image_id=image_id)
    try:
        written = service.captions(CaptionOptions(CAPTIONS, structure=wanted or None), image_id=image_id)
    except (ModelError, Problem) as error:
        problem = as_problem(error)
    generated = written if written is not None and written.mode == "generate" else None
    return render(
        request,
        "captions.html",
        image_id=image_id,
        generated=generated,
        can_generate=generated is not None or problem is not None,
        nearest=nearest,
        structure=wanted,
        problem=problem,
    )


@router.get("/near")
def near(request: Request, image_id: str, service: ServiceDep, minus: str = "", plus: str = "") -> Response:
    """The nearest photographs to this one, minus some words and plus others."""
    service.get_image(image_id)  # RecordNotFound, also for what cannot be an id
    operands = [Operand(Reference("image", image_id))]
    if minus.strip():
        operands.append(Operand(Text(minus), -1.0))
    if plus.strip():
        operands.append(Operand(Text(plus), 1.0))
    expression = Expression(tuple(operands))
    problem: Problem | None = None
    tiles: list[Tile] = []
    unknown: tuple[str, ...] = ()
    try:
        result = service.search(expression, SearchOptions(k=NEIGHBOURS))
    except (QueryError, ModelError, LibraryError) as error:
        problem = as_problem(error)
    else:
        unknown = result.unknown_words
        tiles = photograph_tiles(result.hits, _deletions(request).ids())
    return render(
        request,
        "near.html",
        tiles=tiles,
        unknown=unknown,
        problem=problem,
        composed=len(operands) > 1,
        search_url=View(q=str(expression)).url(),
    )


@router.post("/metadata")
def edit_metadata(
    request: Request,
    image_id: str,
    service: ServiceDep,
    key: Annotated[list[str] | None, Field()] = None,
    value: Annotated[list[str] | None, Field()] = None,
    was: Annotated[str, Field()] = "",
) -> Response:
    """Change in the metadata what was changed in the form, which was made from `was`; an emptied row is removed."""
    record = service.get_image(image_id)
    problem: Problem | None = None
    pairs = list(zip(key or (), value or (), strict=False))
    try:
        record = service.patch_image(image_id, read_changes(recall(was), pairs))
    except Problem as error:
        problem = error
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/photos/{image_id}", 303)
    if problem is None:
        shown, was = rows(record.metadata), remember(record.metadata)
    else:
        shown = [*pairs, ("", "")]
    return render(request, "metadata.html", record=record, rows=shown, was=was, saved=problem is None, problem=problem)


@router.post("/delete")
def delete(request: Request, image_id: str, service: ServiceDep) -> Response:
    """Delete the photograph, with some seconds to undo it."""
    service.get_image(image_id)  # RecordNotFound, also for what cannot be an id
    _deletions(request).schedule(image_id)
    return RedirectResponse("/", 303)


@router.post("/restore")
def restore(request: Request, image_id: str) -> Response:
    """Undo the deletion."""
    if not _deletions(request).undo(image_id):
        raise Problem("record_not_found", "It was too late: the photograph is deleted.")
    return RedirectResponse(f"/photos/{image_id}", 303)


def _facts(facts: PhotoFacts) -> list[Fact]:
    """What the file says, each with the search for what is alike."""
    found: list[Fact] = []
    if facts.taken is not None:
        found.append(Fact("Taken", long_time(facts.taken), day_url(facts.taken)))
    if facts.camera is not None:
        found.append(Fact("Camera", facts.camera, View().taken(camera=facts.camera).url()))
    if facts.lens is not None:
        found.append(Fact("Lens", facts.lens))
    if facts.place is not None:
        latitude, longitude = facts.place
        place = f"{latitude:.5f}, {longitude:.5f}"
        found.append(Fact("Place", place, View().taken(near=f"{latitude:.5f},{longitude:.5f},{_NEAR}").url()))
    if facts.title is not None:
        found.append(Fact("Title", facts.title))
    if facts.keywords:
        found.append(Fact("Keywords", ", ".join(facts.keywords)))
    return found


def _alternative_text(record: ImageRecord, captions: Sequence[CaptionRecord]) -> str:
    """The first stored caption, people's own before written ones; without any, the words for what it shows."""
    return responses.image_captions(captions[:1]).captions[0].sentence if captions else description(record)


def _deletions(request: Request) -> Deletions:
    deletions: Deletions = request.app.state.deletions
    return deletions
