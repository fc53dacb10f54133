"""Errors as pages: for browsers, on everything that is a page rather than a part of the API."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from app.problems import Problem
from app.web.rendering import render
from app.web.sign_in import SignInNeeded, to_sign_in

_API = ("/v1", "/healthz", "/readyz", "/metrics", "/problems", "/openapi.json", "/assets")


def install(app: FastAPI) -> None:
    """Let `app.http.problem_responses` answer with pages where a browser asked for one."""
    app.state.error_page = error_page
    app.add_exception_handler(SignInNeeded, to_sign_in)


def error_page(request: Request, problem: Problem) -> Response | None:
    """The page about a problem; None where problem+json is the better answer."""
    path = request.url.path
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in _API):
        return None
    if "text/html" not in request.headers.get("accept", ""):
        return None
    template = "fragment_error.html" if "hx-request" in request.headers else "error.html"
    response = render(request, template, problem.status, problem=problem)
    response.headers.update(problem.headers)
    response.headers["Cache-Control"] = "no-store"
    return response
