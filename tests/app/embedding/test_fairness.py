"""Clients take turns and shares, and nobody waits for who waits for them."""

from __future__ import annotations

import threading
import time

import pytest

from app.embedding.batcher import Batcher
from app.embedding.fairness import ByteBudget, FairPool, FairQueue, Shares, ShuttingDown
from app.embedding.memory_budget import FilesInMemory


def test_clients_take_turns_and_keep_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("greedy", ["g1", "g2", "g3", "g4"])
    queue.push("modest", ["m1", "m2"])
    assert queue.peek() == "g1"
    assert [queue.pop() for _ in range(len(queue))] == ["g1", "m1", "g2", "m2", "g3", "g4"]
    with pytest.raises(IndexError):
        queue.pop()
    queue.push("greedy", [])
    assert not queue


def test_one_may_have_everything_and_the_next_one_still_gets_some() -> None:
    shares = Shares(8)
    for _ in range(8):
        assert shares.fits("greedy", 1)
        shares.take("greedy", 1)
    assert not shares.fits("greedy", 1)
    assert shares.fits("modest", 2)
    assert not shares.fits("modest", 3)
    shares.take("modest", 2)
    assert not shares.fits("another", 1), "there is an end to it"
    shares.give_back("greedy", 8)
    shares.give_back("modest", 2)
    assert shares.fits("anybody", 100), "what is larger than everything goes alone"


def test_bytes_are_granted_in_turns_when_they_are_given_back() -> None:
    budget = ByteBudget(100)
    budget.take("a", 100)
    order: list[str] = []

    def want(client: str) -> None:
        with budget.hold(client, 100):
            order.append(client)

    threads = []
    for client in ("a", "a", "b"):
        threads.append(threading.Thread(target=want, args=(client,)))
        threads[-1].start()
        time.sleep(0.05)
    assert order == []
    assert not budget.try_take("c", 1), "nobody overtakes who waits"
    budget.give_back("a", 100)
    for thread in threads:
        thread.join(10)
    assert order == ["a", "b", "a"]
    assert budget.try_take("c", 100)


def test_who_waits_for_bytes_or_turns_is_told_of_the_end() -> None:
    budget = ByteBudget(1)
    budget.take("a", 1)
    failed: list[Exception] = []

    def want() -> None:
        try:
            budget.take("b", 2)
        except ShuttingDown as error:
            failed.append(error)

    waiting = threading.Thread(target=want)
    waiting.start()
    time.sleep(0.05)
    budget.close()
    waiting.join(10)
    assert len(failed) == 1
    with pytest.raises(ShuttingDown):
        budget.take("a", 1)
    pool = FairPool(1, "test")
    started, go_on = threading.Event(), threading.Event()

    def hold() -> str:
        started.set()
        go_on.wait(10)
        return "done"

    running = pool.submit("a", hold)
    started.wait(10)
    late = pool.submit("b", lambda: "never")
    threading.Timer(0.1, go_on.set).start()
    pool.close()
    assert running.result(10) == "done"
    with pytest.raises(ShuttingDown):
        late.result(10)
    with pytest.raises(ShuttingDown):
        pool.submit("a", lambda: None)


def test_a_pool_passes_on_results_and_errors() -> None:
    pool = FairPool(2, "test")
    assert [future.result(10) for future in [pool.submit("a", abs, -n) for n in range(5)]] == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        pool.submit("a", divmod, 1, 0).result(10)
    pool.close()


def test_results_are_handed_over_together_while_there_is_more_to_do() -> None:
    pool = FairPool(1, "test", together=60)
    begun, go_on = [threading.Event() for _ in range(3)], [threading.Event() for _ in range(3)]

    def call(number: int) -> int:
        begun[number].set()
        assert go_on[number].wait(10)
        return number

    futures = [pool.submit("a", call, number) for number in range(3)]
    for number in range(2):
        assert begun[number].wait(10)
        go_on[number].set()
    assert begun[2].wait(10)
    assert not any(future.done() for future in futures), "others wait, and a minute has not passed"
    go_on[2].set()
    assert [future.result(10) for future in futures] == [0, 1, 2], "nobody waits any more"
    pool.close()


def test_a_result_waits_for_others_no_longer_than_it_may() -> None:
    pool = FairPool(1, "test", together=0.02)
    begun, go_on = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        assert go_on.wait(10)

    quick = [pool.submit("a", time.sleep, 0.03) for _ in range(2)]
    last = pool.submit("a", call)
    assert begun.wait(10)
    assert all(future.done() for future in quick)
    go_on.set()
    last.result(10)
    pool.close()


def test_closing_hands_over_what_is_done() -> None:
    pool = FairPool(1, "test", together=60)
    begun, go_on = threading.Event(), threading.Event()

    def call() -> str:
        begun.set()
        assert go_on.wait(10)
        return "second"

    first, second, third = pool.submit("a", str, "first"), pool.submit("a", call), pool.submit("a", str, "third")
    assert begun.wait(10)
    pool.refuse()
    go_on.set()
    assert (first.result(10), second.result(10)) == ("first", "second")
    with pytest.raises(ShuttingDown):
        third.result(10)
    pool.close()


def test_a_client_with_little_does_not_wait_for_one_with_much() -> None:
    computed: list[str] = []
    go_on = threading.Event()

    def compute(items: list[str]) -> list[str]:
        go_on.wait(10)
        computed.extend(items)
        return items

    with (
        Batcher({"texts": compute}, places={"bulk": 64, "search": 1}, max_batch=4) as batcher,
        batcher.admit("bulk", "a") as first,
        batcher.admit("bulk", "a") as second,
        batcher.admit("bulk", "b") as third,
    ):
        futures = [future for place in (first, second) for future in place.submit("texts", ["much"] * 8)]
        futures += third.submit("texts", ["little"])
        go_on.set()
        for future in futures:
            future.result(10)
    assert "little" in computed[:8], "in the first or second batch of five"


def test_a_chunk_whose_bytes_were_given_back_keeps_nothing_in_memory() -> None:
    budget = ByteBudget(400 * 2**20)
    reader = FilesInMemory(budget, "a", 2**20)
    assert reader.try_room()
    chunk = reader.read(iter([bytes(100)]), 16, len)
    assert [len(file) for file in chunk.items] == [100]
    chunk.release()
    assert chunk.items == [], "whoever iterates may still have the chunk when others get its room"
    assert budget.try_take("b", 400 * 2**20)
