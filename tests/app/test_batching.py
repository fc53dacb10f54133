"""The batcher, with real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from app.batching import Batcher, BatcherClosed


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
    with Batcher({"numbers": Recorder()}, max_wait=0.001) as batcher, ThreadPoolExecutor(16) as callers:

        def ask(number: int) -> int:
            (future,) = batcher.submit("numbers", [number])
            result: int = future.result(10)
            return result

        numbers = [number for number in range(500) if number != 13]
        assert list(callers.map(ask, numbers)) == [2 * number for number in numbers]


def test_items_which_wait_share_batches_up_to_the_limit() -> None:
    double = Recorder()
    double.hold()
    with Batcher({"numbers": double}, max_batch=4, max_wait=0) as batcher:
        first = batcher.submit("numbers", [0])
        assert double.started.wait(10)
        rest = [future for number in range(1, 10) for future in batcher.submit("numbers", [number])]
        double.gate.set()
        assert [future.result(10) for future in first + rest] == [2 * number for number in range(10)]
    assert double.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_an_incomplete_batch_waits_for_more_but_not_for_ever() -> None:
    double = Recorder()
    with Batcher({"numbers": double}, max_batch=3, max_wait=0.2) as batcher:
        started = time.monotonic()
        futures = batcher.submit("numbers", [1])
        futures += batcher.submit("numbers", [2])
        assert [future.result(10) for future in futures] == [2, 4]
        assert time.monotonic() - started >= 0.19
        started = time.monotonic()
        full = batcher.submit("numbers", [3, 4, 5])
        assert [future.result(10) for future in full] == [6, 8, 10]
        assert time.monotonic() - started < 0.19
    assert double.batches == [[1, 2], [3, 4, 5]]


def test_a_bad_item_fails_alone() -> None:
    with Batcher({"numbers": Recorder()}, max_batch=4) as batcher:
        one, bad, three = batcher.submit("numbers", [1, 13, 3])
        assert one.result(10) == 2
        assert three.result(10) == 6
        with pytest.raises(ValueError, match="bad luck"):
            bad.result(10)
        (after,) = batcher.submit("numbers", [4])
        assert after.result(10) == 8


def test_a_function_with_too_few_results_is_an_error() -> None:
    with Batcher({"numbers": lambda items: []}) as batcher:
        (future,) = batcher.submit("numbers", [1])
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

    with Batcher({"images": embed_images, "texts": embed_texts}, max_batch=2, max_wait=0) as batcher:
        many = batcher.submit("images", [1, 2, 3, 4, 5, 6, 7, 8])
        assert images.started.wait(10)
        (text,) = batcher.submit("texts", [1])
        images.gate.set()
        assert text.result(10) == 2
        assert [future.result(10) for future in many] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert order == ["images", "texts", "images", "images", "images"]


def test_cancelled_items_are_not_computed() -> None:
    double = Recorder()
    double.hold()
    with Batcher({"numbers": double}, max_wait=0) as batcher:
        first = batcher.submit("numbers", [1])
        assert double.started.wait(10)
        unwanted, wanted = batcher.submit("numbers", [2, 3])
        assert unwanted.cancel()
        double.gate.set()
        assert (first[0].result(10), wanted.result(10)) == (2, 6)
        with pytest.raises(CancelledError):
            unwanted.result(10)
    assert double.batches == [[1], [3]]


def test_the_observer_is_told_of_every_batch() -> None:
    seen: list[tuple[str, int]] = []
    with Batcher({"numbers": Recorder()}, max_batch=2, max_wait=0) as batcher:
        batcher.observer = lambda kind, size, seconds: seen.append((kind, size))
        for future in batcher.submit("numbers", [1, 2, 3]):
            future.result(10)
    assert seen == [("numbers", 2), ("numbers", 1)]


def test_closing_finishes_what_runs_and_refuses_what_waits() -> None:
    double = Recorder()
    double.hold()
    batcher = Batcher({"numbers": double}, max_wait=0, name="closing-test")
    (running,) = batcher.submit("numbers", [1])
    assert double.started.wait(10)
    (waiting,) = batcher.submit("numbers", [2])
    closer = threading.Thread(target=batcher.close)
    closer.start()
    with pytest.raises(BatcherClosed):
        waiting.result(10)
    double.gate.set()
    closer.join(10)
    assert running.result(10) == 2
    assert "closing-test" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(BatcherClosed):
        batcher.submit("numbers", [3])
    batcher.close()


def test_an_empty_submission_is_nothing() -> None:
    with Batcher({"numbers": Recorder()}) as batcher:
        assert batcher.submit("numbers", []) == []
