"""Confidence, concepts, explanations and intersections in searches."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.service import Service
from app.settings import Settings
from model.compose.arithmetic import Operand
from model.compose.calibration import CalibratedTarget, QueryKind, calibrate, curve_name, sentence_traits
from model.space import JointSpace
from tests.app.helpers import ADDRESS, CALIBRATION, assert_problem, calibrated_space, picture, refused_fields, store


@pytest.fixture(scope="module")
def space(shipped_space: JointSpace) -> JointSpace:
    """The shipped one: what its rule of arithmetic puts in and takes away is asked for here."""
    return shipped_space


@pytest.fixture(scope="module")
def calibrated(
    space: JointSpace, photos: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A client of an application whose bundle has a calibration, with photographs and sentences."""
    stock = Settings(library=tmp_path_factory.mktemp("calibrated") / "library")
    with (
        Service.open(stock, space=calibrated_space(space)) as service,
        TestClient(create_app(service=service), base_url=ADDRESS) as client,
    ):
        files = [("files", (f"{name}.jpg", data)) for name, data in photos.items()]
        assert client.post("/v1/images", files=files).status_code == 200
        texts = ["a dog runs on the beach", "a man on a red car", "a black cat", "a white flower"]
        assert client.post("/v1/sentences", json={"texts": texts}).status_code == 200
        yield client


def get(client: TestClient, q: str, **parameters: Any) -> dict[str, Any]:
    response = client.get("/v1/search", params={"q": q, **parameters})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.fixture(scope="module")
def cat(calibrated: TestClient) -> str:
    """The id of the photograph of a cat."""
    items = calibrated.get("/v1/images?limit=100").json()["items"]
    return next(str(item["id"]) for item in items if item["filename"] == "cat.jpg")


def test_every_hit_has_a_confidence_that_falls_with_the_score(calibrated: TestClient, cat: str) -> None:
    for q in ("a black cat", f"image:{cat}", f"image:{cat} - black + white", "cat + dog"):
        for target in ("images", "sentences"):
            answer = get(calibrated, q, target=target)
            confidences = [hit["confidence"] for hit in answer["hits"]]
            assert confidences == sorted(confidences, reverse=True)
            assert all(0 < confidence < 1 for confidence in confidences)
            assert answer["best_confidence"] == confidences[0]


@pytest.mark.parametrize("target", ["images", "sentences"])
def test_a_chance_goes_by_what_is_asked(
    calibrated: TestClient, cat: str, photos: dict[str, bytes], space: JointSpace, target: CalibratedTarget
) -> None:
    stored = calibrated.get("/v1/sentences").json()["items"][0]
    (vector,) = space.embed_images([Image.open(io.BytesIO(photos["cat"])).convert("RGB")])
    image: Operand = (vector, 1.0, "image")
    attributes = space.composition([image, ("black", -1.0, "text"), ("white", 1.0, "text")]).exchange
    things = space.composition([image, ("cat", -1.0, "text"), ("dog", 1.0, "text")])
    snow = space.composition([image, ("white snow", 1.0, "text")])
    assert attributes is not None
    assert things.exchange is not None
    asked: dict[str, tuple[QueryKind, tuple[float, ...]]] = {
        "cat": ("sentence", (1.0,)),
        "a black cat": ("sentence", (0.5,)),
        f"sentence:{stored['id']}": ("sentence", sentence_traits(stored["text"], space.unknown_words(stored["text"]))),
        f"image:{cat}": ("image", ()),
        "cat + a red car - dog": ("words", (1 / 3,)),
        f"image:{cat} - black + white": ("attributes", (attributes.put, attributes.taken)),
        f"image:{cat} - cat": ("image", ()),
        f"image:{cat} - cat + dog": ("composed", (1.0, things.vector @ vector, 1.0, things.exchange.alone)),
        f"image:{cat} + white snow": ("composed", (0.5, snow.vector @ vector, 0.0, 0.0)),
    }
    for q, (kind, traits) in asked.items():
        curve = CALIBRATION.curves[curve_name(kind, target)]
        hits = get(calibrated, q, target=target)["hits"]
        wanted = calibrate(curve, [hit["score"] for hit in hits], traits)
        assert [hit["confidence"] for hit in hits] == pytest.approx(wanted.tolist(), abs=1e-4), q
        bound = hits[0]["confidence"] - 1e-6
        assert [hit["id"] for hit in get(calibrated, q, target=target, min_confidence=bound)["hits"]] == [
            hit["id"] for hit in hits if hit["confidence"] >= bound
        ], q


def test_all_asks_for_a_stored_sentence_by_its_own_words(calibrated: TestClient, space: JointSpace) -> None:
    stored = calibrated.get("/v1/sentences").json()["items"][0]
    curve = CALIBRATION.curves["sentence_to_images"]
    hits = get(calibrated, f"sentence:{stored['id']} + cat", all=True, explain=True)["hits"]
    assert hits
    for hit in hits:
        whole, word = (one["contribution"] for one in hit["explanation"])
        wanted = min(
            calibrate(curve, whole, sentence_traits(stored["text"], space.unknown_words(stored["text"]))),
            calibrate(curve, word, (1.0,)),
            key=float,
        )
        assert hit["confidence"] == pytest.approx(float(wanted), abs=1e-4)


def test_min_confidence_in_every_search(calibrated: TestClient, cat: str, photos: dict[str, bytes]) -> None:
    everything = get(calibrated, "a black cat", k=100)["hits"]
    bound = everything[len(everything) // 2]["confidence"] - 1e-9
    wanted = [hit["id"] for hit in everything if hit["confidence"] >= bound]
    assert [hit["id"] for hit in get(calibrated, "a black cat", k=100, min_confidence=bound)["hits"]] == wanted
    body = {"terms": [{"text": "a black cat"}], "k": 100, "min_confidence": bound}
    assert [hit["id"] for hit in calibrated.post("/v1/search", json=body).json()["hits"]] == wanted
    answer = calibrated.post(
        "/v1/search/image", files={"image": photos["cat"]}, data={"min_confidence": "0.9", "k": "100"}
    ).json()
    assert all(hit["confidence"] >= 0.9 for hit in answer["hits"])
    assert answer["hits"]


def test_nothing_matches_can_be_said(calibrated: TestClient) -> None:
    best = get(calibrated, "a man on a beach")["hits"][0]["confidence"]
    answer = get(calibrated, "a man on a beach", min_confidence=0.9999)
    assert answer["hits"] == []
    assert answer["best_confidence"] == pytest.approx(best)
    assert get(calibrated, "a man on a beach", min_confidence=1)["hits"] == []


def test_what_puts_nothing_in_has_no_confidence(calibrated: TestClient) -> None:
    assert {hit["confidence"] for hit in get(calibrated, "- cat")["hits"]} == {None}
    response = calibrated.get("/v1/search", params={"q": "- cat", "min_confidence": "0.1"})
    assert "only subtracts" in assert_problem(response, 422, "invalid_request")["detail"]


def test_unknown_words_that_are_taken_away_leave_the_confidence(calibrated: TestClient) -> None:
    plain, unknown = (get(calibrated, f"dog - {taken}")["hits"] for taken in ("red", "red xqztw"))
    assert [hit["confidence"] for hit in unknown] == pytest.approx([hit["confidence"] for hit in plain])


def test_unknown_words_lower_the_confidence(calibrated: TestClient) -> None:
    plain = get(calibrated, "a black cat", k=3)["hits"]
    half = get(calibrated, "a black cat xqztw qqqzz", k=3)["hits"]
    assert [hit["id"] for hit in half] == [hit["id"] for hit in plain]
    for one, other in zip(half, plain, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"] / 2)
    bound = half[1]["confidence"] - 1e-9
    assert len(get(calibrated, "a black cat xqztw qqqzz", min_confidence=bound)["hits"]) == 2


def test_without_a_calibration_it_is_an_error_that_says_what_to_do(
    connect: Callable[..., TestClient], silent_space: JointSpace
) -> None:
    assert silent_space.config.calibration is None
    client = connect(space=silent_space)
    store(client, "a.jpg", picture(1))
    hits = get(client, "dog + cat")["hits"]
    assert [hit["confidence"] for hit in hits] == [None]
    for parameters in ({"min_confidence": "0.1"}, {"all": "true"}):
        response = client.get("/v1/search", params={"q": "dog + cat", **parameters})
        problem = assert_problem(response, 501, "calibration_missing")
        assert "visem train calibration" in problem["detail"]


def test_contributions_add_up_to_the_score(calibrated: TestClient, cat: str) -> None:
    for q in (f"image:{cat} - black + white", "2 * dog + cat - snow", f"image:{cat}", "a black cat"):
        for target in ("images", "sentences"):
            for hit in get(calibrated, q, explain=True, target=target)["hits"]:
                total = sum(one["contribution"] for one in hit["explanation"])
                assert total == pytest.approx(hit["score"], abs=2e-3)
    explained = get(calibrated, f"image:{cat} - black + 2 * white", explain=True)["hits"][0]["explanation"]
    assert [(one["operand"], one["weight"]) for one in explained] == [(f"image:{cat}", 1), ("black", -1), ("white", 2)]
    assert get(calibrated, "cat")["hits"][0]["explanation"] is None


def test_an_upload_is_explained_too(calibrated: TestClient, photos: dict[str, bytes]) -> None:
    data = {"q": "- black + white", "explain": "true"}
    hits = calibrated.post("/v1/search/image", files={"image": photos["cat"]}, data=data).json()["hits"]
    assert [one["operand"] for one in hits[0]["explanation"]] == ["image", "black", "white"]


def test_all_wants_every_operand(calibrated: TestClient) -> None:
    answer = get(calibrated, "cat + dog", all=True, k=100, explain=True)
    hits = answer["hits"]
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    for hit in hits:
        assert hit["score"] <= hit["confidence"] <= 1
        assert len(hit["explanation"]) == 2
    dog, cat = (
        {hit["id"]: hit["confidence"] for hit in get(calibrated, word, k=100)["hits"]} for word in ("dog", "cat")
    )
    for hit in hits:
        assert hit["confidence"] == pytest.approx(min(dog[hit["id"]], cat[hit["id"]]), abs=1e-3)
        assert hit["score"] == pytest.approx(dog[hit["id"]] * cat[hit["id"]], abs=1e-3)
    without = get(calibrated, "cat - dog", all=True, k=100)["hits"]
    expected = {hit["id"]: cat[hit["id"]] * (1 - dog[hit["id"]]) for hit in without}
    assert all(hit["score"] == pytest.approx(expected[hit["id"]], abs=1e-3) for hit in without)


def test_pages_of_an_intersection(calibrated: TestClient) -> None:
    whole = [hit["id"] for hit in get(calibrated, "cat + dog", all=True, k=100)["hits"]]
    pieces: list[str] = []
    cursor = None
    while True:
        page = get(calibrated, "cat + dog", all=True, k=3, **({"cursor": cursor} if cursor else {}))
        pieces += [hit["id"] for hit in page["hits"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        refused = calibrated.get("/v1/search", params={"q": "cat + man", "all": "true", "cursor": cursor})
        assert_problem(refused, 422, "invalid_cursor")
    assert pieces == whole
    assert_problem(
        calibrated.get("/v1/search", params={"q": "cat + dog", "all": "true", "cursor": "x"}), 422, "invalid_cursor"
    )


def test_concepts_filter_lists_and_searches(calibrated: TestClient, cat: str) -> None:
    assert "cat" in [concept["word"] for concept in calibrated.get(f"/v1/images/{cat}").json()["concepts"]]
    listed = calibrated.get("/v1/images?concept=cat&limit=100").json()
    assert cat in [item["id"] for item in listed["items"]]
    assert listed["total"] < calibrated.get("/v1/images").json()["total"]
    hits = get(calibrated, "a man", concept=" Cat ")["hits"]
    assert {hit["id"] for hit in hits} == {item["id"] for item in listed["items"]}
    body = {"terms": [{"text": "a man"}], "concept": "cat,no-such-word"}
    assert calibrated.post("/v1/search", json=body).json()["hits"] == []
    refused = calibrated.get("/v1/search?q=cat&concept=cat&target=sentences")
    assert_problem(refused, 422, "invalid_request")


def test_sentences_find_sentences_and_images(calibrated: TestClient, cat: str) -> None:
    sentences = calibrated.get("/v1/sentences").json()["items"]
    black = next(one["id"] for one in sentences if one["text"] == "a black cat")
    assert cat in [hit["id"] for hit in get(calibrated, f"sentence:{black}", k=3)["hits"]]
    found = get(calibrated, f"sentence:{black}", target="sentences")["hits"]
    assert black not in [hit["id"] for hit in found]
    assert len(found) == 3
    body = {"terms": [{"sentence_id": black}, {"text": "red"}], "target": "sentences", "include_query_items": True}
    assert black in [hit["id"] for hit in calibrated.post("/v1/search", json=body).json()["hits"]]


def test_unknown_operands_point_at_the_column(calibrated: TestClient) -> None:
    problem = assert_problem(calibrated.get("/v1/search", params={"q": "a dog - xqztw"}), 422, "no_known_words")
    assert problem["column"] == 9
    assert problem["unknown_words"] == ["xqztw"]


def test_bad_options(calibrated: TestClient) -> None:
    for name, value in (("min_confidence", "2"), ("explain", "maybe"), ("all", "7"), ("concept", "x" * 1001)):
        assert refused_fields(calibrated.get("/v1/search", params={"q": "cat", name: value})) == [name]


def test_a_map_of_images_and_words(calibrated: TestClient) -> None:
    answer = calibrated.get("/v1/map", params={"words": "dog, cat, xqztw dog"}).json()
    words = [point for point in answer["points"] if point["kind"] == "word"]
    images = [point for point in answer["points"] if point["kind"] == "image"]
    assert [point["word"] for point in words] == ["dog", "cat", "xqztw dog"]
    assert len(images) == answer["total_images"] == calibrated.get("/v1/images").json()["total"]
    assert answer["unknown_words"] == ["xqztw"]
    assert 0 < answer["explained_variance"][1] <= answer["explained_variance"][0] < 1
    assert (words[0]["x"], words[0]["y"]) != (words[1]["x"], words[1]["y"])
    assert calibrated.get("/v1/map", params={"words": "dog, cat, xqztw dog"}).json() == answer
    sample = calibrated.get("/v1/map", params={"limit": 3}).json()
    assert len(sample["points"]) == 3
    assert calibrated.get(sample["points"][0]["thumbnail_url"]).status_code == 200
    assert_problem(calibrated.get("/v1/map", params={"words": "xqztw"}), 422, "no_known_words")
    assert refused_fields(calibrated.get("/v1/map?limit=0")) == ["limit"]


def test_a_map_of_nothing(client: TestClient) -> None:
    assert client.get("/v1/map").json()["points"] == []
    (point,) = client.get("/v1/map?words=dog").json()["points"]
    assert point["word"] == "dog"


def test_config_of_the_service_does_not_list_counts(calibrated: TestClient, tmp_path: Path) -> None:
    config = calibrated.get("/v1/info").json()["space"]["config"]
    assert "pairs" not in config["composition"]
    assert config["calibration"]["curves"].keys() == CALIBRATION.curves.keys()
    assert len(json.dumps(config)) < 50_000
