"""The service with all three engines on other machines: PostgreSQL, Milvus and S3."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

Connect = Callable[..., TestClient]


def found(client: TestClient, expression: str) -> list[str]:
    answer = client.get("/v1/search", params={"q": expression, "target": "images"})
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_two_services_on_postgresql_milvus_and_s3(
    connect: Connect,
    postgres_url: str,
    s3_content: str,
    milvus_vectors: str,
    photos: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from index.vectors.milvus import MilvusVectorIndex

    monkeypatch.setattr("index.vectors.milvus.MilvusVectorIndex", partial(MilvusVectorIndex, push_at=3))
    engines = {"catalog": postgres_url, "content": s3_content, "vectors": milvus_vectors}
    one, two = (connect(library=tmp_path / name, **engines) for name in ("one", "two"))
    files = [("files", (f"{name}.jpg", data)) for name, data in photos.items()]
    added = one.post("/v1/images", files=files, data={"metadata": '{"album": "all"}'})
    assert added.status_code == 200, added.text
    ids = {each["image"]["filename"]: each["image"]["id"] for each in added.json()["results"]}
    assert found(one, "a cat") == found(two, "a cat")
    assert set(found(two, "a cat")) <= set(ids.values())
    cat = ids["cat.jpg"]
    for client in (one, two):
        content = client.get(f"/v1/images/{cat}/content")
        assert content.content == photos["cat"]
        part = client.get(f"/v1/images/{cat}/content", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, photos["cat"][10:20])
        assert client.get(f"/v1/images/{cat}/thumbnail").content.startswith(b"\xff\xd8")
        assert client.get("/readyz").status_code == 200
    assert two.patch(f"/v1/images/{cat}", json={"metadata": {"album": "cats"}}).status_code == 200
    assert one.get("/v1/images", params={"metadata.album": "cats"}).json()["total"] == 1
    deadline = time.monotonic() + 30
    while one.get("/metrics").text.count('visem_engine_away{engine="vectors"}') == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert two.delete(f"/v1/images/{cat}").status_code == 204
    assert cat not in found(one, "a cat")
    assert one.get(f"/v1/images/{cat}/content").status_code == 404
    assert one.get("/v1/info").json()["library"]["image_index"]["kind"] == "milvus"
    assert sorted(path.name for path in (tmp_path / "one").rglob("*") if path.is_file()) == []
