"""Exceptions become problems with the right code, status and members, and without internals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from app.embedding.fairness import ShuttingDown
from app.http.problem_responses import ProblemResponse, as_problem, from_status, invalid_fields
from app.problems import Problem
from app.search.expression import QueryError
from index.errors import (
    CatalogCorrupted,
    EngineAway,
    InvalidCursor,
    LibraryClosed,
    LibraryError,
    RecordNotFound,
    StorageFailed,
)
from model.errors import BundleError, DegenerateQueryError, ImageError, ModelError, NoKnownWordsError


@pytest.mark.parametrize(
    ("error", "code", "status", "members"),
    [
        (QueryError("Bad.", 7), "invalid_query", 422, {"column": 7}),
        (NoKnownWordsError("xqzt", ["xqzt"]), "no_known_words", 422, {"unknown_words": ["xqzt"]}),
        (DegenerateQueryError(), "degenerate_query", 422, {}),
        (ImageError("image_truncated", "Ends early."), "image_truncated", 422, {}),
        (RecordNotFound("image", "abc"), "record_not_found", 404, {"kind": "image", "id": "abc"}),
        (InvalidCursor(), "invalid_cursor", 422, {}),
        (LibraryClosed(), "library_closed", 503, {}),
        (ShuttingDown(), "shutting_down", 503, {}),
        (HTTPException(404), "not_found", 404, {}),
        (HTTPException(400), "malformed_body", 400, {}),
        (HTTPException(418), "http_error", 418, {}),
        (HTTPException(502), "internal_error", 502, {}),
    ],
)
def test_expected_errors(error: Exception, code: str, status: int, members: dict[str, object]) -> None:
    problem = as_problem(error)
    assert (problem.code, problem.status, problem.members) == (code, status, members)


@pytest.mark.parametrize(
    "error",
    [
        CatalogCorrupted(Path("/srv/secret/catalog.sqlite"), "bad header"),
        StorageFailed(Path("/srv/secret/file"), "no space"),
        BundleError("bundle_corrupted", "/srv/secret/weights.safetensors is damaged"),
        LibraryError("/srv/secret"),
        ModelError("/srv/secret"),
        RuntimeError("/srv/secret"),
        KeyError("/srv/secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_faults_of_the_service_do_not_tell_internals(error: Exception) -> None:
    problem = as_problem(error)
    assert problem.status >= 500
    assert "secret" not in problem.detail
    assert "secret" not in str(problem.members)


def test_the_document() -> None:
    problem = Problem("invalid_query", "Bad \u2212 sign.", column=3, headers={"Allow": "GET"})
    response = ProblemResponse(problem, "request-1")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["allow"] == "GET"
    assert json.loads(bytes(response.body)) == {
        "type": "/problems/invalid_query",
        "title": "Invalid query",
        "status": 422,
        "code": "invalid_query",
        "detail": "Bad \u2212 sign.",
        "instance": "request-1",
        "column": 3,
    }


def test_many_errors_are_summarised() -> None:
    problem = invalid_fields([(f"field{number}", "is wrong") for number in range(100)])
    assert problem.detail.endswith("and 97 more")
    assert len(problem.members["errors"]) == 50


def test_lone_surrogates_do_not_break_a_document() -> None:
    response = ProblemResponse(Problem("invalid_request", "bad \ud800"), "id")
    assert json.loads(bytes(response.body))["detail"] == "bad \ud800"


def test_statuses_of_the_framework_keep_their_headers() -> None:
    assert from_status(405, {"Allow": "GET"}).headers == {"Allow": "GET"}


def test_an_error_that_was_raised_from_itself_has_an_end() -> None:
    """As pymilvus raises them: the service stood still."""
    inner = RuntimeError("inner")
    inner.__cause__ = inner
    error = EngineAway("vectors", "no answer")
    error.__cause__ = inner
    assert as_problem(error).code == "engine_away"
