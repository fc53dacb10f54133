"""A newer Visem brings the catalog to a schema of its own while this one is still running."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fastapi.testclient import TestClient

from index.catalog.schema import SCHEMA_VERSION
from model.space import JointSpace
from tests.app.helpers import assert_problem, picture, post_images, store


def migrate(library: Path, version: int) -> None:
    with closing(sqlite3.connect(library / "catalog.sqlite")) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (version,))


def test_an_old_service_refuses_until_the_catalog_is_its_own_again(
    connect: Callable[..., TestClient], silent_space: JointSpace, tmp_path: Path
) -> None:
    client = connect(space=silent_space)
    image_id = store(client, "a.jpg", picture(1))
    assert client.get("/readyz").status_code == 200
    migrate(tmp_path / "library", SCHEMA_VERSION + 1)
    for refused in (
        post_images(client, ("b.jpg", picture(2))),
        client.post("/v1/sentences", json={"texts": ["a dog"]}),
        client.patch(f"/v1/images/{image_id}", json={"metadata": {"a": 1}}),
        client.delete(f"/v1/images/{image_id}"),
        client.get("/v1/search", params={"q": "dog"}),
    ):
        assert "Update this one" in assert_problem(refused, 503, "catalog_unsupported")["detail"]
    client.app.state.readiness._expires = 0.0  # type: ignore[attr-defined]  # a second later
    assert client.get("/readyz").status_code == 503
    assert client.get(f"/v1/images/{image_id}/content").status_code == 200  # what was stored can be read
    assert client.get("/v1/images").json()["total"] == 1

    migrate(tmp_path / "library", SCHEMA_VERSION)
    assert client.get("/v1/images").json()["total"] == 1
    store(client, "b.jpg", picture(2))
