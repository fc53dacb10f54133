"""Much to do at once, with real threads: searches keep their lane, what is too much is refused, nothing is lost."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.embedding.batcher import Overloaded
from app.ingest.pipeline import IncomingFile
from app.results import CaptionOptions
from app.service import Service
from model.space import JointSpace
from tests.app.helpers import assert_problem, picture

REQUESTS = 50

TEXTS = [f"a {colour} {thing} on a {place}" for colour in ("red", "black", "white", "brown")
         for thing in ("dog", "cat", "car", "man") for place in ("beach", "street", "table", "field")]  # fmt: skip


def hold(client: TestClient, stack: ExitStack, lane: Any, places: int) -> None:
    """Take all places of a lane for as long as the stack lasts."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    for _ in range(places):
        stack.enter_context(service._embedder.admit(lane, "testclient"))


def together(function: Callable[[int], object]) -> tuple[ThreadPoolExecutor, Sequence[Future[object]]]:
    """Start it in many threads at once."""
    pool = ThreadPoolExecutor(REQUESTS)
    ready = threading.Barrier(REQUESTS)

    def run(number: int) -> object:
        ready.wait(30)
        return function(number)

    return pool, [pool.submit(run, number) for number in range(REQUESTS)]


@pytest.mark.parametrize("kind", ["texts", "captions"])
def test_a_search_does_not_wait_for_the_queue(open_service: Callable[..., Service], kind: str) -> None:
    service = open_service(max_jobs=REQUESTS)
    list(service.ingest(IncomingFile(f"{seed}.jpg", picture(seed)) for seed in range(4)))
    image_ids = [record.id for record in service.list_images().items]

    def ask(number: int) -> int:
        if kind == "texts":
            return sum(one.vector is not None for one in service.embed_texts(TEXTS * 4))
        return len(service.captions(CaptionOptions(n=20), image_id=image_ids[number % 4]).captions)

    alone = ask(0)
    pool, asked = together(ask)
    with pool:
        started = time.monotonic()
        taken: list[float] = []
        waiting: list[int] = []
        while not all(future.done() for future in asked):
            before = time.monotonic()
            assert service.search(f"a dog and {len(taken)} cats").hits
            taken.append(time.monotonic() - before)
            waiting.append(sum(not future.done() for future in asked))
        lasted = time.monotonic() - started
    assert [future.result() for future in asked] == [alone] * REQUESTS, "nothing is lost"
    early = [seconds for seconds, left in zip(taken, waiting, strict=True) if left > REQUESTS / 2]
    assert early, "searches were answered while most of the others still waited"
    assert statistics.median(early) < lasted / 2, "in its turn it would have waited longer"


def test_ingestions_go_on_while_new_ones_are_refused(
    open_service: Callable[..., Service], silent_space: JointSpace
) -> None:
    service = open_service(space=silent_space, max_jobs=4, batch_size=4)
    outcomes: list[tuple[float, str]] = []

    def ask(number: int) -> int:
        started = time.monotonic()
        files = [IncomingFile(f"{at}.jpg", picture(100 * number + at)) for at in range(20)]
        try:
            return sum(result.status == "created" for result in service.ingest(files))
        except Overloaded as error:
            outcomes.append((time.monotonic() - started, error.code))
            return 0

    pool, asked = together(ask)
    with pool:
        stored = [future.result(120) for future in asked]
    assert set(stored) == {0, 20}, "all of an ingestion or nothing"
    assert outcomes, "four at a time are taken on"
    assert service.stats().images == sum(map(int, stored))  # type: ignore[call-overload]
    assert service.library.check() == []
    assert len(list(service.ingest([IncomingFile("a.jpg", picture(1))]))) == 1, "there is room again"


def test_over_the_bound_there_is_a_problem_that_says_when_to_try_again(
    connect: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(max_searches=3, max_jobs=2)
    files = {"files": ("a.jpg", picture(1))}
    one = {"image": ("a.jpg", picture(1))}
    bulk: list[Callable[[], Any]] = [
        lambda: client.post("/v1/images", files=files),
        lambda: client.post("/v1/captions", files=one),
        lambda: client.post("/v1/embeddings", json={"texts": ["a dog"]}),
        lambda: client.post("/v1/embeddings", files=files),
        lambda: client.post("/v1/sentences", json={"text": "a dog"}),
        lambda: client.get("/v1/map", params={"words": "dog"}),
    ]
    search: list[Callable[[], Any]] = [
        lambda: client.get("/v1/search", params={"q": "a dog"}),
        lambda: client.post("/v1/search", json={"terms": [{"text": "a dog"}]}),
        lambda: client.post("/v1/search/image", files=one),
    ]
    for refused, lane, others, places in ((bulk, "bulk", search, 2), (search, "search", bulk, 3)):
        with ExitStack() as stack:
            hold(client, stack, lane, places)
            for request in refused:
                started = time.monotonic()
                response = request()
                assert time.monotonic() - started < 10, "at once, and not when there is room"
                problem = assert_problem(response, 503, "overloaded")
                assert int(response.headers["retry-after"]) >= 1
                assert f"in {response.headers['retry-after']} s" in problem["detail"]
            for request in others:
                assert request().status_code == 200
            for path in ("/v1/images", "/v1/info", "/readyz", "/healthz"):
                assert client.get(path).status_code == 200, "what computes nothing is answered"
        for request in refused:
            assert request().status_code == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "a refusal is no failure"


def test_there_are_threads_for_searches_while_all_others_wait(connect: Callable[..., TestClient]) -> None:
    client = connect(max_jobs=REQUESTS)

    def ask(number: int) -> int:
        return client.post("/v1/embeddings", json={"texts": TEXTS * 2 + [f"{number} dogs"]}).status_code

    pool, asked = together(ask)
    with pool:
        searches = [client.get("/v1/search", params={"q": f"dog {n}"}).status_code for n in range(5)]
    assert searches == [200] * 5
    assert [future.result() for future in asked] == [200] * REQUESTS
