"""The application as a whole: starting, refusing to, stopping, keys, origins, unknown paths."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.main import create_app
from app.service import Service
from app.settings import Settings
from index import (
    LibraryConfig,
    Space,
    SpaceMismatch,
    open_library,
)
from model.errors import BundleError
from model.space import JointSpace
from tests.app.helpers import ADDRESS, assert_problem, picture, post_images, store

KEY = "correct horse battery"


def own_threads() -> set[str]:
    """Threads apart from those of the pool which all applications share."""
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if not name.startswith("AnyIO worker thread")}


def test_an_application_opens_and_closes_its_own_service(space: JointSpace, tmp_path: Path) -> None:
    settings = Settings(library=tmp_path / "library", bundle=space.bundle.path, device="cpu")
    app = create_app(settings)
    with TestClient(app, base_url=ADDRESS) as client:
        store(client, "a.jpg", picture(1))
        service: Service = app.state.service
    with pytest.raises(Exception, match="closed"):
        service.list_images()
    with TestClient(create_app(settings), base_url=ADDRESS) as client:
        assert client.get("/v1/images").json()["total"] == 1


def test_a_given_service_stays_open(service: Service) -> None:
    with TestClient(create_app(service=service), base_url=ADDRESS) as client:
        store(client, "a.jpg", picture(1))
    assert service.list_images().total == 1


def test_nothing_leaks(space: JointSpace, tmp_path: Path) -> None:
    def run_once() -> None:
        settings = Settings(library=tmp_path / "library")
        with (
            Service.open(settings, space=space) as service,
            TestClient(create_app(service=service), base_url=ADDRESS) as client,
        ):
            post_images(client, ("a.jpg", picture(1)), ("bad.jpg", b"junk"))
            client.get("/v1/search?q=a dog")
            client.post("/v1/search/image", files={"image": ("b.jpg", picture(2))})
            image_id = client.get("/v1/images").json()["items"][0]["id"]
            client.get(f"/v1/images/{image_id}/content")

    def descriptors() -> int:
        gc.collect()  # event loops of test clients are closed by the garbage collector
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = own_threads()
    counts: list[int] = []
    while len(counts) < 10 and (len(counts) < 4 or counts[-1] > counts[-3]):
        run_once()  # the first ones start the shared decoder processes, one by one
        counts.append(descriptors())
    assert counts[-1] <= counts[-3], counts
    assert own_threads() <= before


def test_a_library_of_another_bundle_is_refused_by_name(space: JointSpace, tmp_path: Path) -> None:
    other = Space(id="0" * 64, name="some-other-bundle", dimension=space.dimension)
    open_library(LibraryConfig(tmp_path / "library"), other).close()
    before = own_threads()
    app = create_app(Settings(library=tmp_path / "library", bundle=space.bundle.path, device="cpu"))
    with pytest.raises(SpaceMismatch, match=r"some-other-bundle.*visem reindex"), TestClient(app):
        pass
    assert own_threads() <= before


def test_a_damaged_bundle_is_refused_by_name(space: JointSpace, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(space.bundle.path, bundle)
    weights = bundle / "encoders.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    app = create_app(Settings(library=tmp_path / "library", bundle=bundle, device="cpu"))
    with pytest.raises(BundleError, match=weights.name) as caught, TestClient(app):
        pass
    assert caught.value.code == "bundle_corrupted"
    assert not (tmp_path / "library").exists(), "the bundle is checked before a library is created"


def test_the_key_protects_the_library_and_does_not_get_into_logs(
    connect: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(api_key=SecretStr(KEY))
    with caplog.at_level(logging.DEBUG):
        assert_problem(client.get("/v1/images"), 401, "unauthorized")
        assert_problem(client.get("/v1/nowhere"), 401, "unauthorized")
        assert_problem(client.get("/v1/images", headers={"X-API-Key": "wrong"}), 401, "unauthorized")
        assert client.get("/v1/images", headers={"X-API-Key": KEY}).status_code == 200
        assert client.get("/v1/images", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        for path in ("/healthz", "/readyz", "/openapi.json", "/problems"):
            assert client.get(path).status_code == 200
        assert_problem(client.get("/metrics"), 401, "unauthorized")
        assert "401" in client.get("/metrics", headers={"X-API-Key": KEY}).text
        document = client.get("/openapi.json").json()
        assert document["paths"]["/v1/images"]["post"]["security"] == [{"bearer": []}, {"header": []}]
        assert "security" not in document["paths"]["/healthz"]["get"]
    assert KEY not in caplog.text
    assert KEY not in str([vars(record) for record in caplog.records])


def test_no_origin_is_allowed_unless_configured(client: TestClient) -> None:
    response = client.get("/healthz", headers={"Origin": "https://example.org"})
    assert "access-control-allow-origin" not in response.headers


def test_configured_origins_are_allowed(connect: Callable[..., TestClient]) -> None:
    client = connect(allowed_origins=("https://example.org",), api_key=SecretStr(KEY))
    preflight = client.options(
        "/v1/images",
        headers={
            "Origin": "https://example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://example.org"
    response = client.get("/v1/images", headers={"Origin": "https://example.org", "X-API-Key": KEY})
    assert response.headers["access-control-allow-origin"] == "https://example.org"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    refused = client.options(
        "/v1/images", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/", "/v1/images/", "/v2/images", "/docs", "/%00"])
def test_unknown_paths_are_problems(stocked: TestClient, path: str) -> None:
    assert_problem(stocked.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/images", "GET, HEAD, POST"),
        ("DELETE", "/v1/images", "GET, HEAD, POST"),
        ("POST", "/v1/images/abc", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/v1/captions", "POST"),
        ("HEAD", "/v1/captions", "POST"),
        ("OPTIONS", "/v1/search", "GET, HEAD, POST"),
        ("TRACE", "/healthz", "GET, HEAD"),
        ("BREW", "/healthz", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_other_methods_are_problems_which_name_the_allowed(
    stocked: TestClient, method: str, path: str, allowed: str
) -> None:
    response = stocked.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    if method != "HEAD":
        assert_problem(response, 405, "method_not_allowed")


def test_a_fault_is_a_problem_without_internals(
    connect: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    service: Service = client.app.state.service  # type: ignore[attr-defined]

    def fail() -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(service, "stats", fail)
    response = client.get("/v1/info")
    problem = assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    assert "secret internals" in caplog.text
    assert problem["instance"] in caplog.text


def test_many_callers_at_once_all_get_their_own_answer(stocked: TestClient) -> None:
    questions = [f"a {noun}" for noun in ("dog", "cat", "car", "man", "woman", "flower")] * 8

    def ask(q: str) -> tuple[str, list[str]]:
        answer = stocked.get("/v1/search", params={"q": q, "k": 10}).json()
        return answer["query"], [hit["id"] for hit in answer["hits"]]

    alone = {q: ask(q) for q in set(questions)}
    with ThreadPoolExecutor(8) as callers:
        for q, answer in zip(questions, callers.map(ask, questions), strict=True):
            assert answer == alone[q]
