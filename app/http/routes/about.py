"""The service about itself: information, health, metrics, and what its problems mean."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.http import responses
from app.http.dependencies import ServiceDep
from app.http.metrics import CONTENT_TYPE, Metrics
from app.http.readiness import Readiness
from app.http.schemas.about import CaptionInfo, Health, Info, LimitsInfo, ProblemDescription, SpaceInfo
from app.http.schemas.base import MAX_TEXT_LENGTH
from app.http.schemas.search import MAX_K
from app.problems import PROBLEMS, Problem, ProblemKind
from app.search.expression import MAX_OPERANDS
from app.version import VERSION
from index import EngineAway

router = APIRouter(tags=["about"])
_LISTS = {"composition": {"heads", "pairs"}, "concepts": {"words", "names", "broader"}}
"""Long lists in a bundle's configuration, which tell nobody anything."""


@router.get("/v1/info", summary="Version, model, library and limits")
def info(service: ServiceDep) -> Info:
    """The version of the service, the model bundle with its measured quality, the library, and the limits."""
    settings = service.settings
    model = service.model()
    return Info(
        version=VERSION,
        space=SpaceInfo(
            id=model.id,
            name=model.name,
            dimension=model.dimension,
            device=model.device,
            config=model.config.model_dump(mode="json", exclude=_LISTS),
        ),
        library=responses.library_info(service.stats()),
        limits=LimitsInfo(
            max_upload_bytes=settings.max_upload_bytes,
            max_image_bytes=settings.max_image_bytes,
            max_json_bytes=settings.max_json_bytes,
            max_pixels=settings.max_pixels,
            max_files=settings.max_files,
            max_texts=settings.max_texts,
            max_text_length=MAX_TEXT_LENGTH,
            max_terms=MAX_OPERANDS,
            max_k=MAX_K,
        ),
        captions=CaptionInfo(default_mode=service.caption_modes[0], modes=list(service.caption_modes)),
    )


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Answers as long as the process does. Whether it can work is for /readyz."""
    return Health()


@router.get("/readyz", summary="Can the service work?")
def readyz(request: Request) -> Health:
    """Runs a real embedding and a real search and asks the store of the files, once a second at most.

    `not_ready` (503) if one fails; with `engine` (catalog, vectors or content) if that is what does not answer.
    """
    readiness: Readiness = request.app.state.readiness
    failure = readiness.failure()
    if isinstance(failure, EngineAway):
        raise Problem("not_ready", f"The engine of the {failure.part} does not answer.", engine=failure.part)
    if failure is not None:
        raise Problem("not_ready", "An embedding or a search failed. The log of the service has the details.")
    return Health()


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"description": "The Prometheus text format.", "content": {"text/plain": {}}}},
)
def metrics(request: Request) -> Response:
    """Requests by route, latencies, batch sizes, and the size of the library."""
    figures: Metrics = request.app.state.metrics
    return Response(figures.render(), media_type=CONTENT_TYPE)


@router.get("/problems", summary="All problem codes")
async def list_problems() -> list[ProblemDescription]:
    """Every `code` that errors of this service can have, and what it means."""
    return [_description(kind) for kind in PROBLEMS.values()]


@router.get("/problems/{code}", summary="A problem code")
async def get_problem(
    code: Annotated[str, Path(description="The code of a problem.", examples=["degenerate_query"])],
) -> ProblemDescription:
    """What the `type` of a problem points at."""
    if code not in PROBLEMS:
        raise Problem("not_found", "There is no such problem code; /problems lists all.")
    return _description(PROBLEMS[code])


def _description(kind: ProblemKind) -> ProblemDescription:
    return ProblemDescription(code=kind.code, status=kind.status, title=kind.title, meaning=kind.meaning)
