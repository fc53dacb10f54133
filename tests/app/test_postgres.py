"""Two services on one catalog in PostgreSQL, which goes away and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi.testclient import TestClient

from app.main import create_app
from app.service import Service
from tests.app.helpers import ADDRESS
from tests.servers.postgres import PostgresServer


def found(client: TestClient, expression: str) -> set[str]:
    answer = client.get("/v1/search", params={"q": expression, "target": "images"})
    assert answer.status_code == 200, answer.text
    return {hit["id"] for hit in answer.json()["hits"]}


def test_services_share_a_catalog_that_may_go_away(
    connect: Callable[..., TestClient], own_postgres_server: PostgresServer, photos: dict[str, bytes], tmp_path: Path
) -> None:
    url = own_postgres_server.schema("library")
    one, two = (connect(catalog=url) for _ in range(2))
    added = one.post("/v1/images", files=[("files", (f"{name}.jpg", photos[name])) for name in ("cat", "coffee")])
    cat, coffee = (each["image"]["id"] for each in added.json()["results"])
    assert found(two, "a cat") == {cat, coffee}
    captions = two.post("/v1/captions", json={"image_id": cat, "n": 1})
    assert captions.status_code == 200, captions.text
    assert two.delete(f"/v1/images/{coffee}").status_code == 204
    assert found(one, "a cat") == {cat}

    own_postgres_server.stop()
    for answer in (
        one.get("/v1/search", params={"q": "a cat"}),
        one.get(f"/v1/images/{cat}"),
        two.post("/v1/sentences", json={"texts": ["a sentence"]}),
    ):
        assert (answer.status_code, answer.json()["code"], answer.json()["engine"]) == (503, "engine_away", "catalog")
        assert int(answer.headers["Retry-After"]) > 0
    time.sleep(1.1)  # for so long an outcome of readiness is kept
    readiness = one.get("/readyz")
    assert (readiness.status_code, readiness.json()["engine"]) == (503, "catalog")
    assert one.get("/healthz").status_code == 200
    metrics = one.get("/metrics").text
    assert 'visem_engine_away{engine="catalog"} 1.0' in metrics
    assert "visem_library_items{" not in metrics

    own_postgres_server.start()
    deadline = time.monotonic() + 10
    while any(each.get("/readyz").status_code != 200 for each in (one, two)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found(one, "a cat") == found(two, "a cat") == {cat}
    assert two.post("/v1/sentences", json={"texts": ["a sentence"]}).status_code == 200
    metrics = one.get("/metrics").text
    assert 'visem_engine_away{engine="catalog"} 0.0' in metrics
    assert 'visem_library_items{target="sentences"} 1.0' in metrics
    assert not (tmp_path / "library" / "catalog.sqlite").exists()


def test_the_pages_undo_a_deletion_of_another_service_and_after_a_restart(
    connect: Callable[..., TestClient],
    open_service: Callable[..., Service],
    postgres_url: str,
    photos: dict[str, bytes],
) -> None:
    one, two = (connect(catalog=postgres_url, undo_seconds=600) for _ in range(2))
    added = one.post("/v1/images", files=[("files", (f"{name}.jpg", photos[name])) for name in ("cat", "coffee")])
    cat, coffee = (each["image"]["id"] for each in added.json()["results"])
    assert f'data-id="{cat}"' not in one.post(f"/photos/{cat}/delete").text
    assert f'data-id="{cat}"' not in two.get("/").text
    assert two.post(f"/photos/{cat}/restore").url.path == f"/photos/{cat}"
    assert f'data-id="{cat}"' in one.get("/").text

    killed = open_service(catalog=postgres_url, undo_seconds=600)  # it schedules, and is never told to stop
    killed.library.deletions.schedule(cat, datetime.now(UTC) + timedelta(seconds=600))
    three = connect(catalog=postgres_url, undo_seconds=600)
    assert f'data-id="{cat}"' not in three.get("/").text
    assert three.post(f"/photos/{cat}/restore").url.path == f"/photos/{cat}"

    with TestClient(create_app(service=killed), base_url=ADDRESS) as last:
        last.post(f"/photos/{coffee}/delete")
    assert two.get(f"/v1/images/{coffee}").status_code == 404  # it was carried out when its service stopped
    assert found(one, "a cat") == {cat}
