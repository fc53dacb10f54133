"""The threads of searches, with real searches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.embedding.fairness import ShuttingDown
from app.search.engine import SearchEngine
from app.search.expression import parse
from app.search.results import SearchOptions, SearchResult
from app.search.threads import AT_A_TIME, SearchThreads
from app.service import Service
from app.settings import Settings
from index import PhotoFilter, RecordNotFound
from tests.app.helpers import until


class Held:
    """What is made of a result, once somebody lets it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.gate = threading.Event()

    def __call__(self, result: SearchResult) -> str | None:
        self.begun.set()
        assert self.gate.wait(10)
        return result.expression


def search_threads(service: Service, settings: Settings) -> SearchThreads:
    return SearchThreads(SearchEngine(service.space, service.library, service._embedder), settings)


@pytest.fixture
def threads(service: Service) -> Iterator[SearchThreads]:
    """The threads of a library that is all on this machine."""
    threads = search_threads(service, Settings())
    yield threads
    threads.close()


def begin(threads: SearchThreads, text: str, options: SearchOptions, then: Held) -> Future[str | None]:
    return threads.begin(parse(text), options, None, "somebody", then)


def answer(threads: SearchThreads, text: str, options: SearchOptions | None = None) -> tuple[bool, str | None]:
    """Whether the event loop did a search itself, and the expression."""

    async def answered() -> tuple[bool, str | None]:
        mine = threading.current_thread()

        def then(result: SearchResult) -> tuple[bool, str | None]:
            return threading.current_thread() is mine, result.expression

        return await threads.answer(parse(text), options or SearchOptions(), "somebody", then)

    with ThreadPoolExecutor(1) as pool:  # that of the tests may have a browser's event loop
        return pool.submit(lambda: asyncio.run(answered())).result(10)


FAR = (SearchOptions(all=True), SearchOptions(filters={"album": "holiday"}))
"""Two searches that may go through many records."""


def test_searches_take_turns_and_none_waits_for_one_that_takes_long(threads: SearchThreads) -> None:
    long = [Held() for _ in FAR]
    running, last = [Held(), Held()], Held()
    assert len(long) == len(running) == AT_A_TIME
    waiting = [
        *(begin(threads, "cat + dog", options, one) for options, one in zip(FAR, long, strict=True)),
        *(begin(threads, "a cat", SearchOptions(), one) for one in running),
        begin(threads, "a dog", SearchOptions(), last),
    ]
    assert all(one.begun.wait(10) for one in long)
    assert all(one.begun.wait(10) for one in running), "beside the long ones"
    assert not last.begun.wait(0.05), "so many at a time"
    running[0].gate.set()
    assert last.begun.wait(10)
    for one in (last, running[1], *long):
        one.gate.set()
    assert [future.result(10) for future in waiting] == ["cat + dog", "cat + dog", "a cat", "a cat", "a dog"]


def test_a_short_search_that_comes_alone_is_done_by_who_asks_once_the_library_is_open(threads: SearchThreads) -> None:
    assert not answer(threads, "a cat")[0], "the first one may take long"
    time.sleep(0.1)
    until(lambda: answer(threads, "a dog")[0])
    time.sleep(0.1)
    assert answer(threads, "a dog")[1] == "a dog"
    for options in FAR:
        time.sleep(0.1)
        assert not answer(threads, "cat + dog", options)[0]


def test_it_does_so_for_a_part_of_its_time(threads: SearchThreads) -> None:
    answer(threads, "a cat")

    async def search_for_a_second() -> tuple[list[float], float]:
        """Seconds of each search on this thread, and of all that was done."""
        mine, taken = threading.current_thread(), []
        await asyncio.sleep(0.2)

        def then(result: SearchResult) -> None:
            started = time.monotonic()
            time.sleep(0.02)
            if threading.current_thread() is mine:
                taken.append(time.monotonic() - started)

        begun = time.monotonic()
        while time.monotonic() < begun + 1.0:
            await threads.answer(parse("a cat"), SearchOptions(), "somebody", then)
        return taken, time.monotonic() - begun

    with ThreadPoolExecutor(1) as pool:
        taken, seconds = pool.submit(lambda: asyncio.run(search_for_a_second())).result(30)
    assert sum(taken) - max(taken, default=0.0) <= 0.1 + seconds / 3, "but for the last one, which it could not foresee"


def test_it_leaves_a_search_to_a_thread_beside_others(threads: SearchThreads) -> None:
    answer(threads, "a cat")
    held = Held()
    running = begin(threads, "a dog", SearchOptions(), held)
    assert held.begun.wait(10)
    time.sleep(0.1)
    assert not answer(threads, "a cat")[0]
    held.gate.set()
    assert running.result(10) == "a dog"


def test_errors_of_a_search_that_is_done_at_once_are_those_of_others(threads: SearchThreads) -> None:
    answer(threads, "a cat")
    time.sleep(0.1)
    with pytest.raises(RecordNotFound):
        answer(threads, "image:" + 64 * "0")
    threads.refuse()
    with pytest.raises(ShuttingDown):
        answer(threads, "a cat")


@pytest.mark.parametrize(
    ("options", "far"),
    [
        (SearchOptions(), False),
        (SearchOptions(k=200, min_score=0.1, explain=True), False),
        (SearchOptions(all=True), True),
        (SearchOptions(cursor="x"), True),
        (SearchOptions(filters={"a": "b"}), True),
        (SearchOptions(concepts=("dog",)), True),
        (SearchOptions(photo=PhotoFilter(camera="canon")), True),
    ],
)
def test_what_may_go_through_many_records_is_told(options: SearchOptions, far: bool) -> None:
    assert options.goes_far == far


def test_where_engines_are_waited_for_searches_run_at_the_same_time(service: Service) -> None:
    threads = search_threads(service, Settings(vectors="milvus+http://127.0.0.1:1/visem", max_searches=3))
    try:
        held = [Held() for _ in range(AT_A_TIME + 1)]
        waiting = [begin(threads, "a cat", SearchOptions(), one) for one in held]
        assert all(one.begun.wait(10) for one in held)
        for one in held:
            one.gate.set()
        assert [future.result(10) for future in waiting] == ["a cat"] * 3
        time.sleep(0.1)
        assert not answer(threads, "a cat")[0], "nor does the event loop wait for them"
    finally:
        threads.close()


def test_closing_finishes_what_runs_and_refuses_what_waits(threads: SearchThreads) -> None:
    running, waiting = [Held() for _ in range(AT_A_TIME)], Held()
    first = [begin(threads, "a cat", SearchOptions(), one) for one in running]
    assert all(one.begun.wait(10) for one in running)
    second = begin(threads, "a dog", SearchOptions(), waiting)
    threads.refuse()
    with pytest.raises(ShuttingDown):
        second.result(10)
    with pytest.raises(ShuttingDown):
        begin(threads, "a dog", SearchOptions(), waiting)
    for one in running:
        one.gate.set()
    assert [future.result(10) for future in first] == ["a cat"] * AT_A_TIME
