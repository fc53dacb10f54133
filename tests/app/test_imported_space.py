"""A tiny imported CLIP through the whole service: API, pages, fitting, captions. What it finds means nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.service import Service
from app.settings import Settings
from model.bundle import Bundle
from model.captioner.captioner import Captioner
from model.space import JointSpace
from tests.app.helpers import ADDRESS, assert_problem
from tests.clip import write_clip_captioner
from tests.conftest import KeptBundle


@pytest.fixture(scope="module")
def client(
    clip_bundle: Path, photos: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    space = JointSpace.load(clip_bundle, device="cpu")
    settings = Settings(library=tmp_path_factory.mktemp("imported") / "library")
    with (
        Service.open(settings, space=space) as service,
        TestClient(create_app(service=service), base_url=ADDRESS) as client,
    ):
        files = [("files", (f"{name}.jpg", data)) for name, data in photos.items()]
        assert client.post("/v1/images", files=files).status_code == 200
        texts = ["a dog runs on the beach", "un café à Málaga", "xyzzyva"]
        answer = client.post("/v1/sentences", json={"texts": texts}).json()
        assert all(one["status"] == "created" and one["unknown_words"] == [] for one in answer["results"])
        yield client


def test_searches(client: TestClient, photos: dict[str, bytes]) -> None:
    image = client.get("/v1/images").json()["items"][0]
    assert image["concepts"]
    for query in ("zyzzyva", "blue car - blue + red", f"image:{image['id']} - black + white", '"🐈 — a cat"'):
        answer = client.get("/v1/search", params={"q": query})
        assert answer.status_code == 200, answer.text
        assert answer.json()["unknown_words"] == []
        assert answer.json()["hits"]
    found = client.post("/v1/search/image", files={"image": photos["cat"]}, data={"q": "- blue + red"})
    assert found.status_code == 200, found.text
    assert client.get("/v1/search", params={"q": "   "}).status_code == 422
    assert_problem(client.get("/v1/search", params={"q": "car - car"}), 422, "degenerate_query")
    assert_problem(client.get("/v1/search", params={"q": "a cat", "min_confidence": 0.5}), 501, "calibration_missing")


def test_embeddings_and_the_map(client: TestClient) -> None:
    (one,) = client.post("/v1/embeddings", json={"texts": ["zyzzyva"]}).json()["items"]
    assert len(one["vector"]) == 48
    drawn = client.get("/v1/map", params={"words": "zyzzyva,cat"}).json()
    assert drawn["unknown_words"] == []
    assert client.get("/v1/info").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_captions_are_retrieved_where_none_can_be_written(client: TestClient) -> None:
    image = client.get("/v1/images").json()["items"][0]["id"]
    assert_problem(client.post("/v1/captions", json={"image_id": image, "mode": "generate"}), 501, "captioner_missing")
    answer = client.post("/v1/captions", json={"image_id": image, "mode": "retrieve", "n": 2})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["captions"]) == 2


def test_pages(client: TestClient) -> None:
    image = client.get("/v1/images").json()["items"][0]["id"]
    for page in ("/", "/?q=zyzzyva", f"/photos/{image}/view", "/map", "/model", "/add"):
        answer = client.get(page)
        assert answer.status_code == 200, page


def test_it_is_fitted_and_learns_to_write(
    kept_bundle: KeptBundle, photos: dict[str, bytes], open_service: Callable[..., Service]
) -> None:
    bundle = kept_bundle("clip-captioner", write_clip_captioner)
    config = Bundle.load(bundle).config
    assert config.calibration is not None
    assert config.captioner is not None
    assert "imported" in (bundle / "MODEL_CARD.md").read_text()
    space = JointSpace.load(bundle, device="cpu")
    assert "composition" in space.text.capabilities
    assert Captioner.load(bundle, device="cpu").caption(space.embed_operands(["cat"]), n=2)[0]
    service = open_service(space=space)
    with TestClient(create_app(service=service), base_url=ADDRESS) as client:
        written = client.post("/v1/captions", files={"image": photos["cat"]}, data={"n": 2})
        assert written.status_code == 200, written.text
        assert written.json()["captions"]


def test_the_prompt_of_operands_is_no_part_of_the_space(clip_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_bundle, tmp_path / "bundle")
    before = Bundle.load(folder).config
    settings = json.loads((folder / "bundle.json").read_text())
    settings["text"]["prompts"]["operand"] = ["{}", "a picture of {}"]
    (folder / "bundle.json").write_text(json.dumps(settings))
    changed = Bundle.load(folder).config
    assert changed.space_id == before.space_id
    one, other = (JointSpace.load(path, device="cpu") for path in (clip_bundle, folder))
    assert abs(one.embed_operands(["cat"]) - other.embed_operands(["cat"])).max() > 1e-3
    assert abs(one.embed_texts(["cat"]) - other.embed_texts(["cat"])).max() < 1e-6
    settings["text"]["prompts"]["sentence"] = ["a photo of {}"]
    (folder / "bundle.json").write_text(json.dumps(settings))
    assert Bundle.load(folder).config.space_id != before.space_id
