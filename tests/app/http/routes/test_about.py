"""Information, health, metrics, and what problems mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.problems import PROBLEMS
from app.service import Service
from model.space import JointSpace
from tests.app.helpers import assert_problem, picture, post_images, refused_fields


def test_info(stocked: TestClient, space: JointSpace) -> None:
    info = stocked.get("/v1/info").json()
    assert info["name"] == "visem"
    assert info["version"]
    assert info["space"]["id"] == space.id
    assert info["space"]["dimension"] == space.dimension
    counts = {"composition": {"heads", "pairs"}}  # tens of kilobytes that nobody reads there
    assert info["space"]["config"] == space.config.model_dump(mode="json", exclude=counts)
    assert info["library"]["images"] == 10
    assert info["library"]["sentences"] == 4
    assert info["library"]["image_index"] == {"kind": "exact", "size": 10, "recall": 1.0, "waiting": 0}
    assert info["limits"]["max_files"] == 256
    assert info["captions"] == {"default_mode": "generate", "modes": ["generate", "retrieve"]}


def test_info_does_not_tell_where_things_are(stocked: TestClient, service: Service) -> None:
    assert str(service.settings.library.parent) not in stocked.get("/v1/info").text
    assert "/tmp" not in stocked.get("/v1/info").text  # noqa: S108  # where the fixture's library is


def test_health(stocked: TestClient) -> None:
    assert stocked.get("/healthz").json() == {"status": "ok"}
    assert stocked.get("/readyz").json() == {"status": "ok"}


def test_a_bundle_without_a_captioner_only_retrieves(
    connect: Callable[..., TestClient], silent_space: JointSpace
) -> None:
    captions = connect(space=silent_space).get("/v1/info").json()["captions"]
    assert captions == {"default_mode": "retrieve", "modes": ["retrieve"]}


def test_readiness_runs_for_real(connect: Callable[..., TestClient]) -> None:
    client = connect()
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    batches: list[str] = []
    service.observe_batches(lambda kind, size, seconds: batches.append(kind))
    assert client.get("/readyz").status_code == 200
    assert batches == ["texts"]


def test_a_broken_service_is_alive_but_not_ready(connect: Callable[..., TestClient]) -> None:
    client = connect()
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    service.library.close()
    assert_problem(client.get("/readyz"), 503, "not_ready")
    assert client.get("/healthz").status_code == 200
    assert_problem(client.get("/v1/images"), 503, "library_closed")


def test_metrics(client: TestClient) -> None:
    post_images(client, ("a.jpg", picture(1)), ("b.jpg", picture(2)))
    client.get("/v1/images/nothere")
    client.get("/nowhere")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    text = response.text
    assert 'visem_http_requests_total{method="POST",route="/v1/images",status="200"} 1.0' in text
    assert 'visem_http_requests_total{method="GET",route="/v1/images/{image_id}",status="404"} 1.0' in text
    assert 'visem_http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'visem_http_request_seconds_count{method="POST",route="/v1/images"} 1.0' in text
    assert 'visem_batch_items_sum{kind="images"} 2.0' in text
    assert 'visem_library_items{target="images"} 2.0' in text
    assert 'visem_requests_admitted{lane="bulk"} 0.0' in text
    assert 'visem_vectors_behind{target="images"} 0.0' in text
    assert "visem_captions_owed 0.0" in text
    assert "visem_engine_away{" not in text  # there is none on another machine
    assert "nothere" not in text


def test_applications_do_not_share_metrics(connect: Callable[..., TestClient], client: TestClient) -> None:
    client.get("/healthz")
    other = connect()
    assert "/healthz" not in other.get("/metrics").text


def test_every_problem_is_described(stocked: TestClient) -> None:
    listed: list[dict[str, Any]] = stocked.get("/problems").json()
    assert {one["code"] for one in listed} == PROBLEMS.keys()
    for one in listed:
        assert stocked.get(f"/problems/{one['code']}").json() == one
    assert_problem(stocked.get("/problems/no_such"), 404, "not_found")


@pytest.mark.parametrize("path", ["/v1/info", "/healthz", "/readyz", "/metrics", "/problems"])
def test_unknown_parameters_are_refused_everywhere(stocked: TestClient, path: str) -> None:
    assert refused_fields(stocked.get(f"{path}?x=1")) == ["x"]
    head = stocked.head(path)
    assert head.status_code == 200
    assert head.content == b""
