"""The service with all three engines on other machines: PostgreSQL, Milvus and S3."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.servers.s3 import CREDENTIALS, s3_server

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


def told_away(answer: Any, engine: str) -> bool:
    """Whether an answer says in full that an engine is away, and when to try again."""
    told = (answer.status_code, answer.json()["code"], answer.json()["engine"])
    return told == (503, "engine_away", engine) and int(answer.headers["Retry-After"]) > 0


def test_what_needs_an_engine_that_is_away_says_which(
    connect: Connect, photos: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pymilvus", "boto3", "moto"):
        pytest.importorskip(module)
    milvus = connect(library=tmp_path / "one", vectors="milvus+http://127.0.0.1:9/name")
    with s3_server(tmp_path) as address:  # it is gone afterwards
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": address}.items():
            monkeypatch.setenv(name, value)
        httpx2.put(f"{address}/bucket").raise_for_status()
        s3 = connect(library=tmp_path / "two", content="s3://bucket/library")
    image = [("files", ("cat.jpg", photos["cat"]))]

    assert milvus.post("/v1/images", files=image).status_code == 200
    assert s3.post("/v1/sentences", json={"texts": ["a cat"]}).status_code == 200
    for _ in range(4):
        assert told_away(milvus.get("/v1/search", params={"q": "a cat"}), "vectors")
        assert told_away(s3.post("/v1/images", files=image), "content")
    assert s3.get("/v1/search", params={"q": "a cat", "target": "sentences"}).json()["hits"][0]["kind"] == "sentence"
    for client, engine in ((milvus, "vectors"), (s3, "content")):
        readiness = client.get("/readyz")
        assert (readiness.status_code, readiness.json()["engine"]) == (503, engine)
        figures = client.get("/metrics").text
        assert f'visem_engine_away{{engine="{engine}"}} 1.0' in figures
        assert f'visem_engine_failures_total{{engine="{engine}"}} 3.0' in figures, "then nobody waits any more"
    assert 'visem_engine_retries_total{engine="content"} 6.0' in s3.get("/metrics").text
