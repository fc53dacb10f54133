"""Requests, and pieces of bodies, begin one after the other; clients take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.http.turns import Turns


def run(work: Callable[[], Coroutine[Any, Any, list[str]]]) -> list[str]:
    """What a coroutine returns, in a thread of its own: that of the tests may have a browser's event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


async def together(pieces: int, *clients: str) -> list[str]:
    """Who begins, or reads a piece of a body, in which order, when all come in at once."""
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        order.append(scope["client"][0])
        for _ in range(pieces):
            await receive()
            order.append(f"{scope['client'][0]} piece")

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError

    turns = Turns(app)
    await asyncio.gather(*(turns({"type": "http", "client": (client, 1)}, receive, send) for client in clients))
    return order


def test_another_client_is_the_next_one_not_the_last() -> None:
    order = run(lambda: together(0, *["127.0.0.2"] * 500, "127.0.0.3"))
    assert order.index("127.0.0.3") <= 1
    assert len(order) == 501


def test_a_few_requests_begin_in_each_round_of_the_event_loop() -> None:
    async def begun_after_rounds() -> list[str]:
        begun: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.append(scope["client"][0])

        turns = Turns(app)
        requests = [turns({"type": "http", "client": (f"127.0.0.{n}", 1)}, None, None) for n in range(60)]  # type: ignore[arg-type]
        waiting = asyncio.gather(*requests)
        for _ in range(12):
            await asyncio.sleep(0)
        some = [*begun]
        await waiting
        return some

    assert 20 <= len(run(begun_after_rounds)) <= 40, "neither one by one nor all at once"


def test_bodies_are_read_by_turns() -> None:
    order = run(lambda: together(20, *["127.0.0.2"] * 10, "127.0.0.3"))
    assert len(order) == 11 * 21
    last = len(order) - 1 - order[::-1].index("127.0.0.3 piece")
    assert last < len(order) / 2, "twenty pieces of one client do not wait for two hundred of another"


def test_a_request_that_is_given_up_stops_nobody() -> None:
    async def give_one_up() -> list[str]:
        begun: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.append(scope["client"][0])

        turns = Turns(app)
        waiting = [
            asyncio.create_task(turns({"type": "http", "client": (f"127.0.0.{n}", 1)}, None, None))  # type: ignore[arg-type]
            for n in range(3)
        ]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return begun

    assert run(give_one_up) == ["127.0.0.0", "127.0.0.2"]
