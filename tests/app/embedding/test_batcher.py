"""The batcher, with real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from app.embedding.batcher import Batcher, Lane, Overloaded, batched
from app.embedding.fairness import ShuttingDown

PLACES: Mapping[Lane, int] = {"search": 2, "bulk": 2}


class Recorder:
    """A batch function which doubles numbers, remembers its batches, refuses 13, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        self.started.set()
        assert self.gate.wait(10)
        if 13 in items:
            raise ValueError("13 brings bad luck")
        return [2 * item for item in items]

    def hold(self) -> None:
        self.started.clear()
        self.gate.clear()


def test_results_come_back_to_whoever_asked() -> None:
    with Batcher({"numbers": Recorder()}, places=PLACES, max_wait=0.001) as batcher, ThreadPoolExecutor(16) as callers:

        def ask(number: int) -> int:
            (future,) = batcher.submit("bulk", "numbers", [number])
            result: int = future.result(10)
            return result

        numbers = [number for number in range(500) if number != 13]
        assert list(callers.map(ask, numbers)) == [2 * number for number in numbers]


def test_items_which_wait_share_batches_up_to_the_limit() -> None:
    double = Recorder()
    double.hold()
    with Batcher({"numbers": double}, places=PLACES, max_batch=4, max_wait=0) as batcher:
        first = batcher.submit("bulk", "numbers", [0])
        assert double.started.wait(10)
        rest = [future for number in range(1, 10) for future in batcher.submit("bulk", "numbers", [number])]
        double.gate.set()
        assert [future.result(10) for future in first + rest] == [2 * number for number in range(10)]
    assert double.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_an_incomplete_batch_waits_for_more_but_not_for_ever() -> None:
    double = Recorder()
    with Batcher({"numbers": double}, places=PLACES, max_batch=3, max_wait=0.2) as batcher:
        started = time.monotonic()
        futures = batcher.submit("bulk", "numbers", [1])
        futures += batcher.submit("bulk", "numbers", [2])
        assert [future.result(10) for future in futures] == [2, 4]
        assert time.monotonic() - started >= 0.19
    assert double.batches == [[1, 2]]
    with Batcher({"numbers": double}, places=PLACES, max_batch=3, max_wait=60) as batcher:
        full = batcher.submit("bulk", "numbers", [3, 4, 5])
        assert [future.result(10) for future in full] == [6, 8, 10], "a whole one does not wait"
    assert double.batches == [[1, 2], [3, 4, 5]]


def test_a_bad_item_fails_alone() -> None:
    with Batcher({"numbers": Recorder()}, places=PLACES, max_batch=4) as batcher:
        one, bad, three = batcher.submit("bulk", "numbers", [1, 13, 3])
        assert one.result(10) == 2
        assert three.result(10) == 6
        with pytest.raises(ValueError, match="bad luck"):
            bad.result(10)
        (after,) = batcher.submit("bulk", "numbers", [4])
        assert after.result(10) == 8


def test_a_function_with_too_few_results_is_an_error() -> None:
    with Batcher({"numbers": lambda items: []}, places=PLACES) as batcher:
        (future,) = batcher.submit("bulk", "numbers", [1])
        with pytest.raises(RuntimeError, match="0 results for 1"):
            future.result(10)


def test_kinds_take_turns() -> None:
    order: list[str] = []
    images, texts = Recorder(), Recorder()
    images.hold()

    def embed_images(items: list[int]) -> Sequence[int]:
        order.append("images")
        return images(items)

    def embed_texts(items: list[int]) -> Sequence[int]:
        order.append("texts")
        return texts(items)

    with Batcher({"images": embed_images, "texts": embed_texts}, places=PLACES, max_batch=2, max_wait=0) as batcher:
        many = batcher.submit("bulk", "images", [1, 2, 3, 4, 5, 6, 7, 8])
        assert images.started.wait(10)
        (text,) = batcher.submit("bulk", "texts", [1])
        images.gate.set()
        assert text.result(10) == 2
        assert [future.result(10) for future in many] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert order == ["images", "texts", "images", "images", "images"]


def test_cancelled_items_are_not_computed() -> None:
    double = Recorder()
    double.hold()
    with Batcher({"numbers": double}, places=PLACES, max_wait=0) as batcher:
        first = batcher.submit("bulk", "numbers", [1])
        assert double.started.wait(10)
        unwanted, wanted = batcher.submit("bulk", "numbers", [2, 3])
        assert unwanted.cancel()
        double.gate.set()
        assert (first[0].result(10), wanted.result(10)) == (2, 6)
        with pytest.raises(CancelledError):
            unwanted.result(10)
    assert double.batches == [[1], [3]]


def test_the_observer_is_told_of_every_batch() -> None:
    seen: list[tuple[str, int]] = []
    with Batcher({"numbers": Recorder()}, places=PLACES, max_batch=2, max_wait=0) as batcher:
        batcher.observe(lambda kind, size, seconds: seen.append((kind, size)))
        for future in batcher.submit("bulk", "numbers", [1, 2, 3]):
            future.result(10)
    assert seen == [("numbers", 2), ("numbers", 1)]


def test_closing_finishes_what_runs_and_refuses_what_waits() -> None:
    double = Recorder()
    double.hold()
    batcher = Batcher({"numbers": double}, places=PLACES, max_wait=0, name="closing-test")
    (running,) = batcher.submit("bulk", "numbers", [1])
    assert double.started.wait(10)
    (waiting,) = batcher.submit("bulk", "numbers", [2])
    closer = threading.Thread(target=batcher.close)
    closer.start()
    with pytest.raises(ShuttingDown):
        waiting.result(10)
    double.gate.set()
    closer.join(10)
    assert running.result(10) == 2
    assert not {"closing-test-search", "closing-test-bulk"} & {thread.name for thread in threading.enumerate()}
    with pytest.raises(ShuttingDown):
        batcher.submit("bulk", "numbers", [3])
    batcher.close()


def test_an_empty_submission_is_nothing() -> None:
    with Batcher({"numbers": Recorder()}, places=PLACES) as batcher:
        assert batcher.submit("bulk", "numbers", []) == []


def test_lanes_do_not_wait_for_each_other() -> None:
    double = Recorder()
    double.hold()
    with Batcher({"slow": double, "quick": Recorder()}, places=PLACES, max_wait=0) as batcher:
        (slow,) = batcher.submit("bulk", "slow", [1])
        assert double.started.wait(10)
        (quick,) = batcher.submit("search", "quick", [2])
        assert quick.result(10) == 4
        assert not slow.done()
        double.gate.set()
        assert slow.result(10) == 2


def test_who_comes_when_all_places_are_taken_is_refused_at_once() -> None:
    with Batcher({"numbers": Recorder()}, places=PLACES) as batcher, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(batcher.admit("bulk"))
        started = time.monotonic()
        with pytest.raises(Overloaded) as caught, batcher.admit("bulk"):
            pass
        with batcher.admit("bulk", "another client"), pytest.raises(Overloaded), batcher.admit("bulk", "another one"):
            pass  # there is a place more for one who has none
        assert time.monotonic() - started < 10
        assert caught.value.retry_after >= 1
        waits = {Overloaded("bulk", 2).retry_after for _ in range(200)}
        assert waits == {5, 6, 7, 8, 9, 10}, "who is refused together is not to come back together"
        with batcher.admit("search") as place:
            assert place.submit("numbers", [4])[0].result(10) == 8
        stack.close()
        with batcher.admit("bulk") as place:
            assert place.submit("numbers", [5])[0].result(10) == 10


def test_of_one_place_few_items_wait_at_a_time_and_places_take_turns() -> None:
    double = Recorder()
    double.hold()
    pulled: list[int] = []
    results: list[int] = []
    with Batcher({"numbers": double}, places=PLACES, max_batch=2, max_wait=0) as batcher:

        def pull(numbers: range) -> Iterator[int]:
            for number in numbers:
                pulled.append(number)
                yield number

        def ask(numbers: range) -> None:
            with batcher.admit("bulk") as place:
                results.extend(future.result(30) for future in place.submit("numbers", pull(numbers)))

        many = threading.Thread(target=ask, args=(range(100, 200),))
        many.start()
        assert double.started.wait(10)
        few = threading.Thread(target=ask, args=(range(6),))
        few.start()
        time.sleep(0.2)
        assert len(pulled) <= 12, "of each, two batches wait or are computed, and one is ready"
        double.gate.set()
        few.join(30)
        many.join(30)
    assert sorted(results) == sorted([2 * number for number in (*range(6), *range(100, 200))])
    last_of_few = max(at for at, batch in enumerate(double.batches) if min(batch) < 100)
    assert last_of_few < 15, "who has little to ask does not wait for all of who has much"


def test_closing_wakes_who_waits_for_its_own_items() -> None:
    double = Recorder()
    double.hold()
    batcher = Batcher({"numbers": double}, places=PLACES, max_batch=1, max_wait=0)
    raised: list[Exception] = []

    def ask() -> None:
        try:
            with batcher.admit("bulk") as place:
                place.submit("numbers", range(10))
        except ShuttingDown as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert double.started.wait(10)
    closer = threading.Thread(target=batcher.close)
    closer.start()
    double.gate.set()
    asking.join(10)
    closer.join(10)
    assert len(raised) == 1


def test_batched() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []
