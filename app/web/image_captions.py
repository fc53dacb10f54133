"""The stored captions of a photograph: people's own, as a form, and those of the captioner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Form as Field
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.http.dependencies import ServiceDep
from app.http.problem_responses import as_problem
from app.http.schemas.captions import OwnCaptions
from app.http.uploads import validate
from app.problems import Problem
from app.web.rendering import render
from index import CaptionRecord

router = APIRouter(prefix="/photos/{image_id}/captions")


@router.post("")
def save_captions(
    request: Request,
    image_id: str,
    service: ServiceDep,
    was: Annotated[list[str] | None, Field()] = None,
    text: Annotated[list[str] | None, Field()] = None,
) -> Response:
    """Change what was changed in the form: an emptied row is removed, the last row is new."""
    pairs = list(zip(was or (), text or (), strict=False))
    stored = service.image_captions(image_id)
    problem: Problem | None = None
    try:
        captions = merge_rows(_own(stored), pairs)
        validate(OwnCaptions, {"captions": captions})
        stored = service.set_captions(image_id, captions)
    except (Problem, RequestValidationError) as error:
        problem = as_problem(error)
    shown = context(stored, saved=problem is None)
    if problem is not None:
        shown |= {"own": pairs, "problem": problem}
    return _answer(request, image_id, shown)


@router.post("/remove")
def remove_captions(request: Request, image_id: str, service: ServiceDep) -> Response:
    """Remove the captions that the captioner wrote."""
    service.delete_captions(image_id, "captioner")
    return _answer(request, image_id, context(service.image_captions(image_id)))


def context(stored: Sequence[CaptionRecord], *, saved: bool = False) -> dict[str, Any]:
    """What the template shows. Each row of `own` has the stored text and the text to show; the last is empty."""
    return {
        "own": [*((text, text) for text in _own(stored)), ("", "")],
        "written": [one for one in stored if one.origin == "captioner"],
        "captions_saved": saved,
        "problem": None,
    }


def merge_rows(current: Sequence[str], rows: Sequence[tuple[str, str]]) -> list[str]:
    """The captions after an edit. Each row has the text that the form showed and the text that came back.

    Captions that were not touched stay as they are in `current`, whatever others did to them in the meantime.
    """
    captions = list(current)
    for before, after in rows:
        text = " ".join(after.split())
        if text == before:
            continue
        if before and before in captions:
            captions[captions.index(before)] = text
        else:
            captions.append(text)
    return [text for text in captions if text]


def _own(stored: Sequence[CaptionRecord]) -> list[str]:
    return [one.sentence.text for one in stored if one.origin == "user"]


def _answer(request: Request, image_id: str, shown: dict[str, Any]) -> Response:
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/photos/{image_id}", 303)
    return render(request, "stored_captions.html", image_id=image_id, **shown)
