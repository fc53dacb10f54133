"""The middleware around small ASGI applications."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.embedding.fairness import ByteBudget
from app.http.authentication import Authentication, Guesses
from app.http.metrics import Metrics
from app.http.middleware import BodyKind, BodyLimit, HeadRequests, RequestContext
from app.http.problem_responses import MEDIA_TYPE
from app.keys import KeyRing
from app.logs import ACCESS_LOGGER

KEY = "correct horse battery"


async def echo_length(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def swallow_errors(scope: Scope, receive: Receive, send: Send) -> None:
    """As frameworks do: any failure to read the body becomes an answer of their own."""
    response: Response
    try:
        await Request(scope, receive).body()
        response = PlainTextResponse("fine")
    except Exception:
        response = PlainTextResponse("could not read the body", 400)
    await response(scope, receive, send)


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret internals")


def client(app: ASGIApp) -> TestClient:
    return TestClient(RequestContext(app, Metrics()), raise_server_exceptions=False)


def chunks(size: int, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * size


def limited(app: ASGIApp, limit: int = 100) -> TestClient:
    return client(BodyLimit(app, lambda content_type: BodyKind(limit, "VISEM_LIMIT", ByteBudget(10_000))))


@pytest.mark.parametrize("app", [echo_length, swallow_errors])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_limit_is_413(app: ASGIApp, announced: bool) -> None:
    content: Any = b"x" * 101 if announced else chunks(10, 11)
    response = limited(app).post("/", content=content)
    assert response.status_code == 413
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.json()["code"] == "request_too_large"
    assert (response.json()["limit"], response.json()["setting"]) == (100, "VISEM_LIMIT")
    assert "larger than 100 bytes" in response.json()["detail"]
    assert "VISEM_LIMIT" in response.json()["detail"]


def test_a_body_at_the_limit_passes() -> None:
    assert limited(echo_length).post("/", content=b"x" * 100).text == "100"
    assert limited(echo_length).post("/", content=chunks(10, 10)).text == "100"


def test_reading_stops_at_the_limit() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 10_000:
            sent += 10
            yield b"x" * 10

    assert limited(echo_length).post("/", content=endless()).status_code == 413


def test_a_lie_about_the_length_does_not_help() -> None:
    response = limited(echo_length).post("/", content=chunks(10, 20), headers={"Content-Length": "5"})
    assert response.status_code == 413
    response = limited(echo_length).post("/", content=b"", headers={"Content-Length": "9" * 5_000})
    assert response.status_code == 413


def test_the_limit_depends_on_the_content_type() -> None:
    budget = ByteBudget(10_000)
    app = BodyLimit(
        echo_length, lambda content_type: BodyKind(1000 if "multipart" in content_type else 10, "VISEM_LIMIT", budget)
    )
    assert client(app).post("/", content=b"x" * 11).status_code == 413
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client(app).post("/", content=b"x" * 11, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "admitted"),
    [
        ({"Authorization": f"Bearer {KEY}"}, True),
        ({"authorization": f"bearer {KEY}"}, True),
        ({"X-API-Key": KEY}, True),
        ({"X-API-Key": KEY, "Authorization": "Bearer wrong"}, True),
        ({}, False),
        ({"X-API-Key": ""}, False),
        ({"X-API-Key": KEY[:-1]}, False),
        ({"X-API-Key": KEY + "x"}, False),
        ({"Authorization": KEY}, False),
        ({"Authorization": f"Basic {KEY}"}, False),
        ({"Authorization": "Bearer"}, False),
        ({"X-API-Key": "schl\xfcssel".encode("latin-1")}, False),
    ],
)
def test_the_key_is_demanded(headers: dict[str, Any], admitted: bool) -> None:
    guarded = client(Authentication(echo_length, KeyRing(Path("/nowhere"), KEY), Guesses()))
    response = guarded.get("/v1/images", headers=headers)
    assert response.status_code == (200 if admitted else 401)
    if not admitted:
        assert response.json()["code"] == "unauthorized"
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert KEY not in response.text


def test_the_key_is_demanded_under_v1_only() -> None:
    guarded = client(Authentication(echo_length, KeyRing(Path("/nowhere"), KEY), Guesses()))
    assert guarded.get("/v1").status_code == 401
    assert guarded.get("/v1/").status_code == 401
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/v10").status_code == 200


def test_the_key_is_demanded_before_the_body_is_read() -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        sent += 1
        yield b"x"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Authentication(echo_length, KeyRing(Path("/nowhere"), KEY), Guesses())(scope, refuse, send)

    async def refuse() -> Any:
        raise AssertionError("the body was read")

    assert client(app).post("/v1/images", content=body()).status_code == 401


def test_head_is_get_without_the_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        await PlainTextResponse("hello")(scope, receive, send)

    response = client(HeadRequests(app)).head("/")
    assert response.status_code == 200
    assert response.headers["content-length"] == "5"
    assert response.content == b""


def test_every_answer_has_an_id_and_security_headers() -> None:
    response = client(echo_length).get("/")
    assert len(response.headers["x-request-id"]) == 32
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert client(echo_length).get("/").headers["x-request-id"] != response.headers["x-request-id"]


def test_a_harmless_request_id_of_the_client_is_kept() -> None:
    assert client(echo_length).get("/", headers={"X-Request-ID": "trace-1.a"}).headers["x-request-id"] == "trace-1.a"
    for bad in ("a b", "x" * 65, '"', ""):
        assert client(echo_length).get("/", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad


def test_an_unexpected_exception_is_logged_and_does_not_leak(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = client(fail).get("/")
    assert response.status_code == 500
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.json()["code"] == "internal_error"
    assert response.json()["instance"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert "secret internals" in caplog.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_client_that_hangs_up_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("there is nobody to answer")

    metrics = Metrics()
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "client": None}
    # In a thread of its own: browser tests of the same process keep an event loop in this one.
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, RequestContext(echo_length, metrics), scope, receive, send).result()
    assert [record.levelname for record in caplog.records if record.name.startswith("app")] == ["INFO"]
    assert 'status="499"' in metrics.render().decode()


def test_errors_which_others_word_become_problems() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("nope", 416, {"Content-Range": "bytes */5"})(scope, receive, send)

    response = client(app).get("/")
    assert response.status_code == 416
    assert response.json()["code"] == "range_not_satisfiable"
    assert response.headers["content-range"] == "bytes */5"


def test_the_access_log_has_no_query_and_no_forged_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, ACCESS_LOGGER):
        client(echo_length).get("/v1/search?q=private%20thoughts")
        client(echo_length).get("/x%0Aforged", headers={"X-API-Key": KEY})
    entries = [vars(record)["fields"] for record in caplog.records if record.name == ACCESS_LOGGER]
    assert entries[0]["path"] == "/v1/search"
    assert entries[0]["status"] == 200
    text = json.dumps(entries)
    assert "private" not in text
    assert KEY not in text
    assert "\n" not in text


def test_metrics_count_by_route_and_bound_their_labels() -> None:
    metrics = Metrics()
    app = TestClient(RequestContext(echo_length, metrics))
    for number in range(5):
        app.get(f"/made-up-{number}")
        app.request(f"METHOD{number}", "/")
    text = metrics.render().decode()
    assert 'visem_http_requests_total{method="GET",route="unmatched",status="200"} 5.0' in text
    assert 'visem_http_requests_total{method="other",route="unmatched",status="200"} 5.0' in text
    assert "made-up" not in text
