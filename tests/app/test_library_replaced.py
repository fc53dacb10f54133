"""The library's folder is replaced, moved or removed under a running service: it says so, and acknowledges nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from model.space import JointSpace
from tests.app.helpers import assert_problem, picture, post_images, store


def replace(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.move(folder, folder.with_name("elsewhere"))
    shutil.move(folder.with_name("copy"), folder)


def replace_catalog(folder: Path) -> None:
    shutil.copy(folder / "catalog.sqlite", folder / "copy.sqlite")
    (folder / "copy.sqlite").replace(folder / "catalog.sqlite")


def move_content(folder: Path) -> None:
    (folder / "content").rename(folder / "old")


@pytest.mark.parametrize("change", [replace, shutil.rmtree, replace_catalog, move_content])
def test_a_service_whose_library_is_another_one_refuses(
    connect: Callable[..., TestClient], silent_space: JointSpace, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    client = connect(space=silent_space)
    image_id = store(client, "a.jpg", picture(1))
    assert client.get("/readyz").status_code == 200
    change(tmp_path / "library")
    assert_problem(post_images(client, ("b.jpg", picture(2))), 503, "library_replaced")
    for refused in (
        client.post("/v1/sentences", json={"text": "a dog"}),
        client.patch(f"/v1/images/{image_id}", json={"metadata": {"a": 1}}),
        client.delete(f"/v1/images/{image_id}"),
        client.get("/v1/search", params={"q": "dog"}),
    ):
        assert_problem(refused, 503, "library_replaced")
    client.app.state.readiness._expires = 0.0  # type: ignore[attr-defined]  # a second later
    assert client.get("/readyz").status_code == 503


def test_a_library_that_comes_back_is_used_again(
    connect: Callable[..., TestClient], silent_space: JointSpace, tmp_path: Path
) -> None:
    client = connect(space=silent_space)
    store(client, "a.jpg", picture(1))
    (tmp_path / "library").rename(tmp_path / "away")
    assert_problem(client.get("/v1/images"), 503, "library_replaced")
    (tmp_path / "away").rename(tmp_path / "library")
    store(client, "b.jpg", picture(2))
    assert client.get("/v1/images").json()["total"] == 2
