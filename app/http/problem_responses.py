"""Whatever goes wrong, as RFC 9457 `application/problem+json`."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.embedding.batcher import Overloaded
from app.embedding.fairness import ShuttingDown
from app.http import descriptors
from app.problems import PROBLEMS, Problem
from app.search.expression import QueryError
from app.search.operands import UnknownOperandError
from index import CatalogUnsupported, EngineAway, LibraryBusy, LibraryError, RecordNotFound
from model.errors import ModelError, NoKnownWordsError
from model.images.processes import DecodersClosed

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS_CODES = {
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}
_MAX_ERRORS = 50
_BUSY = 2  # seconds after which another writer may be done
_ENGINE_BACK = 5  # seconds after which an engine that was away may be back
_STATES = (Overloaded, ShuttingDown, DecodersClosed)  # no faults, and there may be hundreds: the access log has them
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ProblemResponse(Response):
    """A problem as a response; `instance` is the id of the request."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, request_id: str) -> None:
        document = {
            "type": f"/problems/{problem.code}",
            "title": problem.kind.title,
            "status": problem.status,
            "code": problem.code,
            "detail": problem.detail,
            "instance": request_id,
            **problem.members,
        }
        headers = {"Cache-Control": "no-store", **problem.headers}
        content = json.dumps(document, ensure_ascii=True, allow_nan=False).encode()
        super().__init__(content, problem.status, headers)


def as_problem(error: Exception) -> Problem:
    """The problem that describes an exception; internal_error, without details, when nobody expected it."""
    if descriptors.are_exhausted(error):
        kind = PROBLEMS["descriptors_exhausted"]
        return Problem(kind.code, kind.meaning, headers={"Retry-After": "5"})
    match error:
        case Problem():
            return error
        case UnknownOperandError():
            return Problem(error.code, str(error), column=error.column, unknown_words=list(error.unknown))
        case QueryError():
            return Problem(error.code, str(error), column=error.column)
        case NoKnownWordsError():
            return Problem(error.code, str(error), unknown_words=list(error.unknown))
        case Overloaded():
            return Problem(error.code, str(error), headers={"Retry-After": str(error.retry_after)})
        case RecordNotFound():
            return Problem(error.code, str(error), kind=error.kind, id=error.id)
        case LibraryBusy():
            return Problem(error.code, PROBLEMS[error.code].meaning, headers={"Retry-After": str(_BUSY)})
        case EngineAway():
            return Problem(
                error.code, PROBLEMS[error.code].meaning, engine=error.part, headers={"Retry-After": str(_ENGINE_BACK)}
            )
        case ModelError() | LibraryError() | ShuttingDown() | DecodersClosed():
            return _coded(error.code, error)
        case RequestValidationError():
            return _invalid_request(error.errors())
        case HTTPException():
            return from_status(error.status_code, error.headers or {})
        case OSError() if error.errno in _FULL:
            return Problem("storage_failed", PROBLEMS["storage_failed"].meaning)
    return Problem(
        "internal_error",
        "The service failed to handle this request. Its log has the details under the request id.",
    )


def from_status(status: int, headers: Mapping[str, str]) -> Problem:
    """The problem for an HTTP status which the framework decided on."""
    code = _STATUS_CODES.get(status, "internal_error" if status >= 500 else "http_error")
    if status == 400:
        code = "malformed_body"
    kind = PROBLEMS[code]
    return Problem(code, kind.meaning, headers=headers, status=status)


def invalid_field(field: str, reason: str) -> Problem:
    """invalid_request for one parameter or field."""
    return invalid_fields([(field, reason)])


def invalid_fields(reasons: Sequence[tuple[str, str]]) -> Problem:
    """invalid_request for several parameters or fields: pairs of a name and what is wrong with it."""
    shown = reasons[:_MAX_ERRORS]
    detail = "; ".join(f"{field}: {reason}" for field, reason in shown[:3])
    if len(reasons) > 3:
        detail += f"; and {len(reasons) - 3} more"
    return Problem("invalid_request", detail, errors=[{"field": f, "reason": r} for f, r in shown])


def install(app: FastAPI) -> None:
    """Let the application answer every exception with a problem."""
    for kind in (
        Problem,
        QueryError,
        ModelError,
        LibraryError,
        ShuttingDown,
        DecodersClosed,
        Overloaded,
        RequestValidationError,
        HTTPException,
        OSError,
    ):
        app.add_exception_handler(kind, cast(Callable[[Request, Exception], Awaitable[Response]], _handle))


async def _handle(request: Request, error: Exception) -> Response:
    problem = as_problem(error)
    if isinstance(error, RequestValidationError) and not _is_json(request) and _is_no_object(error):
        problem = Problem("unsupported_media_type", "Send JSON, with Content-Type: application/json.")
    if problem.status >= 500 and not isinstance(error, (Problem, *_STATES)):
        # These fail many requests, and their messages say all that there is to know.
        details = None if isinstance(error, (EngineAway, CatalogUnsupported)) else error
        logger.error("request %s failed: %s", request.state.request_id, error, exc_info=details)
    if problem.code == "method_not_allowed":
        problem.headers["Allow"] = _allowed_methods(request)
    page = getattr(request.app.state, "error_page", None)
    shown: Response | None = page(request, problem) if page is not None else None
    return shown or ProblemResponse(problem, request.state.request_id)


def _coded(code: str, error: Exception) -> Problem:
    kind = PROBLEMS.get(code, PROBLEMS["library_error" if isinstance(error, LibraryError) else "internal_error"])
    # Messages about faults of the service name its files: they are for the log, not for clients.
    return Problem(kind.code, kind.meaning if kind.status >= 500 else str(error))


def _invalid_request(errors: Sequence[Any]) -> Problem:
    if any(error["type"] == "json_invalid" for error in errors):
        reason = errors[0].get("ctx", {}).get("error", "not valid JSON")
        return Problem("malformed_body", f"The body is not valid JSON: {reason}")
    return invalid_fields([(_field(error["loc"]), _reason(error)) for error in errors])


def _field(location: Sequence[str | int]) -> str:
    """`terms[0].weight` for ("body", "terms", 0, "weight")."""
    name = ""
    for part in location[1:]:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name[:200] or str(location[0] if location else "body")


def _reason(error: Mapping[str, Any]) -> str:
    known = {
        "extra_forbidden": "there is no such field",
        "missing": "is required",
        "model_attributes_type": "must be a JSON object",
    }
    return known.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _is_no_object(error: RequestValidationError) -> bool:
    """Whether the body as a whole is no JSON object: what FastAPI makes of other content types."""
    return any(one["type"] == "model_attributes_type" and tuple(one["loc"]) == ("body",) for one in error.errors())


def _allowed_methods(request: Request) -> str:
    """All methods of the path: the router itself would name those of the first matching route only."""
    route = request.scope.get("route")
    path = getattr(route, "path_format", None)
    methods = {method.upper() for method in request.app.openapi()["paths"].get(path, {})}
    methods |= getattr(route, "methods", None) or set()  # pages are not in the document
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods)) or "GET, HEAD"
