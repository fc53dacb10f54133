"""The search page: a box, chips, and a grid that goes on for as long as one scrolls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.http.authentication import may
from app.http.dependencies import SearchPlace, ServiceDep
from app.http.problem_responses import as_problem
from app.http.uploads import ImageForm, only_file
from app.problems import Problem
from app.search.expression import Expression, QueryError, parse
from app.search.results import SearchOptions, SearchResult
from app.service import Service
from app.web import chips
from app.web.chips import Chip
from app.web.deletions import Deletions
from app.web.photo_ranges import Days, Range, days, ranges
from app.web.query_images import SIDE, QueryImages
from app.web.rendering import render
from app.web.tiles import Line, Tile, photograph_tiles, sentence_lines
from app.web.view import View
from index import LibraryError
from model.errors import ModelError

PAGE_SIZE = 30
"""Photographs or sentences at a time: more than a wide screen shows at once."""

router = APIRouter()


@dataclass(frozen=True)
class Results:
    """A page of what was found, or the problem because of which there is none."""

    view: View
    chips: list[Chip] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)
    text: str = ""
    references: str = ""
    tiles: list[Tile] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    next_url: str | None = None
    total: int | None = None
    problem: Problem | None = None
    certain: bool = True
    best_confidence: float | None = None

    @property
    def days(self) -> Days:
        """The first and the last day that is asked for."""
        return days(self.view)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.tiles or self.lines)

    @property
    def has_confidence(self) -> bool:
        """Whether hits say how sure the model is, so that one can ask for the surer ones."""
        return self.best_confidence is not None


@router.get("/")
def search_page(request: Request, service: ServiceDep) -> Response:
    """The page with its first results; of an empty library, the page that fills it, for those who may."""
    view = View.of(request)
    empty = not view.is_search and not view.is_narrowed and service.list_images(limit=1).total == 0
    if empty and may(request, "write"):
        return RedirectResponse("/add", 303)
    results = find(request, service, view)
    status = 200 if results.problem is None else results.problem.status
    return render(request, "search.html", status, results=results)


@router.get("/results")
def more_results(request: Request, service: ServiceDep, cursor: str | None = None) -> Response:
    """The results alone, for a page that is there already; with a cursor, those that follow.

    A problem is a part of the page here, not an answer of its own: half-typed expressions are no failures.
    """
    results = find(request, service, View.of(request), cursor)
    response = render(request, "results.html" if cursor is None else "more.html", results=results)
    if results.problem is not None and results.problem.code == "invalid_query":
        # Somebody is typing: say what is missing, and leave what is there.
        response.headers["HX-Retarget"] = "#message"
        response.headers["HX-Reswap"] = "outerHTML"
        response.headers["HX-Reselect"] = "#message"
    return response


@router.post("/pictures")
def hold_picture(
    request: Request,
    place: SearchPlace,
    form: ImageForm,
    service: ServiceDep,
) -> Response:
    """Keep a photograph in memory to search with it; it is not stored in the library."""
    upload = only_file(form, "image")
    with service.reading(upload.size, place):
        token = _held(request).hold(service.jpeg(upload.read(service.limits), SIDE, place))
    return JSONResponse({"picture": token}, 201)


@router.get("/pictures/{token}")
def held_picture(request: Request, token: str) -> Response:
    """A photograph that is kept in memory."""
    jpeg = _held(request).get(token)
    if jpeg is None:
        raise _forgotten()
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def find(request: Request, service: Service, view: View, cursor: str | None = None) -> Results:
    """Search, or list everything if the query is empty."""
    expression: Expression | None = None
    picture = None if view.picture is None else _held(request).get(view.picture)
    try:
        if not view.is_search:
            return _everything(request, service, view, cursor)
        expression = parse(view.q) if view.q else None
        if view.picture is not None and picture is None:
            raise _forgotten()
        result, certain = _search(service, view, cursor, expression, picture)
    except (QueryError, ModelError, LibraryError, Problem) as error:
        problem = as_problem(error)
        unknown = tuple(problem.members.get("unknown_words", ()))
        return Results(
            view,
            ranges=ranges(view),
            chips=chips.chips(view, expression, unknown, service, held=picture is not None),
            text=view.q if expression is None else _text(view, expression),
            references=chips.references(expression),
            unknown=unknown,
            problem=problem,
        )
    return Results(
        view,
        ranges=ranges(view),
        chips=chips.chips(view, expression, result.unknown_words, service),
        text=_text(view, expression),
        references=chips.references(expression),
        tiles=photograph_tiles(result.hits, _deletions(request).ids()),
        lines=sentence_lines(result.hits),
        unknown=result.unknown_words,
        next_url=None if result.next_cursor is None else view.results_url(result.next_cursor),
        certain=certain,
        best_confidence=result.best_confidence,
    )


def _search(
    service: Service, view: View, cursor: str | None, expression: Expression | None, picture: bytes | None
) -> tuple[SearchResult, bool]:
    """The results, and whether they reach the requested confidence: not all queries have one."""
    options = SearchOptions(
        target=view.target, k=PAGE_SIZE, cursor=cursor, filters=view.filters, photo=view.photo_filter()
    )
    if not view.min_confidence:
        return service.search(expression, options, image=picture), True
    try:
        wanted = replace(options, min_confidence=view.min_confidence)
        return service.search(expression, wanted, image=picture), True
    except Problem as problem:
        if problem.code != "calibration_missing":
            raise
        return service.search(expression, options, image=picture), False


def _everything(request: Request, service: Service, view: View, cursor: str | None) -> Results:
    if view.target == "sentences":
        if view.photo:
            raise Problem("invalid_request", "Only photographs were taken somewhere and at a time.")
        sentences = service.list_sentences(cursor, PAGE_SIZE, view.filters)
        following, total = sentences.next_cursor, sentences.total
        tiles, lines = [], sentence_lines(sentences.items)
    else:
        images = service.list_images(cursor, PAGE_SIZE, view.filters, photo=view.photo_filter())
        following, total = images.next_cursor, images.total
        tiles, lines = photograph_tiles(images.items, _deletions(request).ids()), []
    return Results(
        view,
        ranges=ranges(view),
        tiles=tiles,
        lines=lines,
        next_url=None if following is None else view.results_url(following),
        total=total,
    )


def _text(view: View, expression: Expression | None) -> str:
    """What stands in the box: what was typed, as far as the chips do not stand for it."""
    return chips.text(expression) if chips.references(expression) else view.q


def _forgotten() -> Problem:
    return Problem(
        "not_found",
        "The photograph that this search started from is no longer in memory. Drop it here again.",
    )


def _held(request: Request) -> QueryImages:
    held: QueryImages = request.app.state.query_images
    return held


def _deletions(request: Request) -> Deletions:
    deletions: Deletions = request.app.state.deletions
    return deletions
