"""Clients that hang up: what they asked for, and had not been begun, is not computed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sized
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest

from app.search.threads import AT_A_TIME
from app.service import Service
from tests.app.helpers import add_picture, form, picture
from tests.app.listening import Listening, answer


def request(kind: str, number: int, image_id: str) -> bytes:
    usual = "Host: localhost\r\nConnection: close\r\n"
    if kind == "search":
        return f"GET /v1/search?q={quote(f'a dog and {number} cats')} HTTP/1.1\r\n{usual}\r\n".encode()
    if kind == "captions":
        body, media_type = json.dumps({"image_id": image_id}).encode(), "application/json"
    else:
        body, media_type = form({}, [("image", picture(number))])
    head = f"POST /v1/captions HTTP/1.1\r\n{usual}Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("kind", ["search", "images", "captions"])
def test_nobody_works_for_a_client_that_left(open_service: Callable[..., Service], kind: str) -> None:
    with Listening(open_service(port=0, batch_size=1)) as server:
        image_id = add_picture(server.service, 0)
        begun, go_on = threading.Semaphore(0), threading.Event()
        computed: list[Any] = []

        def slowly(compute: Callable[..., Any]) -> Callable[..., Any]:
            def wait(*items: Any) -> Any:
                begun.release()
                assert go_on.wait(60)
                computed.append(items)
                return compute(*items)

            return wait

        queue = hold(server.service, kind, slowly)
        at_work = AT_A_TIME if kind == "search" else 1
        with ExitStack() as connections:
            *first, last = (connections.enter_context(server.connect()) for _ in range(at_work + 1))
            for number, connection in enumerate(first):
                connection.sendall(request(kind, 10 + number, image_id))
                assert begun.acquire(timeout=60)
            with server.connect() as gone:
                gone.sendall(request(kind, 2, image_id))
                wait_until(lambda: len(queue) == 1)
            wait_until(lambda: server.connections == at_work + 1)
            last.sendall(request(kind, 3, image_id))
            wait_until(lambda: len(queue) == 2)
            go_on.set()
            for connection in (*first, last):
                assert answer(connection).startswith(b"HTTP/1.1 200 ")
        assert len(computed) == at_work + 1
        status, metrics = server.get("/metrics")
        assert status == 200
        assert b'status="499"' in metrics


def hold(service: Service, kind: str, slowly: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Sized:
    """Have what computes wait; return the queue of those that wait for it."""
    if kind == "search":
        engine: Any = service._searching._engine
        engine.search = slowly(engine.search)
        return service._searching._short._waiting
    worker = service._embedder._batcher._workers["bulk"]
    worker._functions[kind] = slowly(worker._functions[kind])
    return worker._queues[kind]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
