"""Maps for many who ask: drawn one at a time, and once for the same library."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.embedding.batcher import Overloaded
from app.http import responses
from app.http.schemas.maps import MapAnswer
from app.maps import maps, projection
from app.maps.maps import MAX_WAITING
from app.maps.projection import Map
from app.service import Service
from model import threads
from model.errors import TextError
from model.space import JointSpace
from tests.app.helpers import add_picture, assert_problem


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The words of each map that was really drawn; never two at a time."""
    done: list[tuple[str, ...]] = []
    draw = maps.draw_map
    alone = threading.Lock()

    def counted(space: JointSpace, sample: Any, words: Any) -> Any:
        assert alone.acquire(blocking=False), "two maps are drawn at a time"
        try:
            done.append(tuple(words))
            return draw(space, sample, words)
        finally:
            alone.release()

    monkeypatch.setattr(maps, "draw_map", counted)
    return done


@pytest.fixture
def stocked_service(open_service: Callable[..., Service], silent_space: JointSpace) -> Service:
    service = open_service(space=silent_space)
    for seed in range(6):
        add_picture(service, seed)
    return service


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_what_a_map_computes_gives_way_to_searches(stocked_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    eigh = np.linalg.eigh

    def watched(product: Any) -> Any:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return eigh(product)

    monkeypatch.setattr(np.linalg, "eigh", watched)
    monkeypatch.setattr(projection, "_CHUNK", 2)
    stocked_service.map(["dog"], 5000)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert seen == [min(19, own + threads.BACKGROUND)]


def test_equal_maps_are_drawn_once_until_the_library_changes(
    stocked_service: Service, drawn: list[tuple[str, ...]]
) -> None:
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda _: stocked_service.map(["dog"], 5000), range(20)))
    assert drawn == [("dog",)]
    assert all(one is made[0] for one in made)
    add_picture(stocked_service, 6)
    assert stocked_service.map(["dog"], 5000).total == 7
    stocked_service.delete_image(stocked_service.list_images().items[0].id)
    assert stocked_service.map(["dog"], 5000).total == 6
    assert len(drawn) == 3


def test_a_map_in_chunks_is_that_of_all_at_once(stocked_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stocked_service.map(["dog", "cat"], 6)
    monkeypatch.setattr("app.maps.projection._CHUNK", 2)
    parts = stocked_service.map(["dog", "cat"], 7)  # another limit, the same images
    assert parts.images == whole.images
    np.testing.assert_allclose(parts.places, whole.places, atol=1e-6)


def test_different_maps_wait_a_few_at_a_time(
    stocked_service: Service, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[str, ...]]
) -> None:
    go_on = threading.Event()
    take = maps.take_sample

    def slowly(library: Any, limit: int) -> Any:
        go_on.wait(30)
        return take(library, limit)

    monkeypatch.setattr(maps, "take_sample", slowly)

    def ask(limit: int) -> str:
        try:
            return f"{len(stocked_service.map([], limit).places)} points"
        except Overloaded:
            go_on.set()  # the others may go on as soon as one was refused
            return "overloaded"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(10, 30)))
    assert answers.count("overloaded") >= 20 - MAX_WAITING - 1 - len(drawn)
    assert answers.count("6 points") == len(drawn) >= 1
    with pytest.raises(TextError):
        stocked_service.map(["!!"], 5)
    with pytest.raises(TextError):  # what failed is not remembered as at work
        stocked_service.map(["!!"], 5)


def test_the_document_of_a_map_is_made_once(stocked_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Map] = []
    build = responses.map_document

    def counted(drawn: Map) -> dict[str, Any]:
        made.append(drawn)
        return build(drawn)

    monkeypatch.setattr(responses, "map_document", counted)
    first = stocked_service.map(["dog"], 5)
    document = responses.map_response(first).body
    assert responses.map_response(stocked_service.map(["dog"], 5)).body == document
    other = stocked_service.map(["dog"], 4)
    assert responses.map_response(other).body != document
    assert made == [first, other]


def test_the_document_is_what_is_documented(stocked_service: Service) -> None:
    document = responses.map_response(stocked_service.map(["dog", "zyzzyva dog"], 5)).body
    assert MapAnswer.model_validate_json(document).model_dump_json().encode() == document
    kinds = [point["kind"] for point in json.loads(document)["points"]]
    assert kinds == ["word"] * 2 + ["image"] * 5


def test_maps_that_are_kept_have_no_object_for_each_point(stocked_service: Service) -> None:
    def ours() -> int:
        gc.collect()
        return sum(str(type(one)).startswith(("<class 'app.", "<class 'index.")) for one in gc.get_objects())

    def kept(limit: int) -> int:
        before = ours()
        responses.map_response(stocked_service.map(["dog"], limit))
        return ours() - before

    kept(1)  # and what is made once
    assert kept(6) <= kept(2)


@pytest.mark.parametrize("path", ["/v1/map", "/v1/search?q=dog", "/", "/results?q=dog"])
def test_pages_of_other_sites_cannot_keep_the_service_busy(
    connect: Callable[..., TestClient], silent_space: JointSpace, path: str
) -> None:
    client = connect(space=silent_space, allowed_origins=("https://good.example",))
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert_problem(client.get(path, headers=embedded), 403, "cross_site_request")
    frame = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert client.get(path, headers=frame).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for headers in (link, {**embedded, "Origin": "https://good.example"}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert client.get(path, headers=headers, follow_redirects=False).status_code in (200, 303, 422)
