"""Sockets that several workers listen on."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import main
from app.http import listening
from app.http.listening import Listener
from app.service import Service


class Counted(asyncio.Protocol):
    """A connection of a worker, which has these."""

    def __init__(self, mine: set[object]) -> None:
        self.mine = mine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.mine.add(self)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.mine.discard(self)

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(data.upper())


class Worker:
    """What a worker does with a socket, which it shares or not."""

    def __init__(self, bound: socket.socket, backlog: int = 64, *, shared: bool = True) -> None:
        self.mine: set[object] = set()
        self.listener = Listener(bound, lambda: Counted(self.mine), self.mine, backlog, shared=shared)


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run in an event loop of another thread."""

    async def all_of_it() -> None:
        await asyncio.wait_for(work(), 30)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(all_of_it())).result()


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def test_a_service_that_stops_takes_no_more_connections(open_service: Callable[..., Service]) -> None:
    announced: queue.Queue[int] = queue.Queue()
    server = main._Server(open_service(host="127.0.0.1", port=0), lambda host, port: announced.put(port))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        port = announced.get(timeout=30)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        (listener,) = server.servers
        assert isinstance(listener, Listener), "not one of libuv"
    finally:
        server.should_exit = True
        thread.join(30)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_each_worker_gets_its_share_of_connections_that_are_opened_at_once() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound, bound.dup() as same:
            workers = [Worker(bound), Worker(same)]
            clients = await asyncio.gather(*[asyncio.open_connection(*bound.getsockname()) for _ in range(16)])
            await until(lambda: sum(len(worker.mine) for worker in workers) == 16)
            assert min(len(worker.mine) for worker in workers) >= 5
            for reader, writer in clients:
                writer.write(b"served\n")
                assert await reader.readline() == b"SERVED\n"
                writer.close()
            await until(lambda: not any(worker.mine for worker in workers))
            for worker in workers:
                worker.listener.close()

    run(work)


def test_a_flood_of_connections_is_taken_at_once() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as bound:
            worker = Worker(bound, 512)
            clients = [socket.create_connection(bound.getsockname()) for _ in range(400)]
            started = time.monotonic()
            await until(lambda: len(worker.mine) == 400)
            assert time.monotonic() - started < 0.8  # each after its full turn: 1.6 s
            worker.listener.close()
            for client in clients:
                client.close()
            await until(lambda: not worker.mine)

    run(work)


def test_who_listens_alone_takes_all_that_wait_within_a_few_rounds() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=64) as bound:
            clients = [socket.create_connection(bound.getsockname()) for _ in range(48)]
            worker = Worker(bound, shared=False)
            for _ in range(12):  # 3 to take them, and a few until each has begun
                await asyncio.sleep(0)
            assert len(worker.mine) == 48
            worker.listener.close()
            for client in clients:
                client.close()
            await until(lambda: not worker.mine)

    run(work)


def test_who_has_closed_leaves_connections_to_others_and_goes_on_with_its_own() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound, bound.dup() as same:
            address = bound.getsockname()
            first = Worker(bound)
            reader, writer = await asyncio.open_connection(*address)
            await until(lambda: len(first.mine) == 1)
            first.listener.close()
            first.listener.close()
            await first.listener.wait_closed()
            _, second_writer = await asyncio.open_connection(*address)
            await asyncio.sleep(0.05)  # longer than it would leave to others
            assert len(first.mine) == 1
            second = Worker(same)
            await until(lambda: len(second.mine) == 1)
            writer.write(b"served\n")
            assert await reader.readline() == b"SERVED\n"
            second.listener.close()
            writer.close()
            second_writer.close()
            await until(lambda: not first.mine and not second.mine)

    run(work)


class Exhausted(socket.socket):
    """A socket that the system has no descriptors for, at first."""

    failures = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_where_descriptors_run_out_it_says_so_and_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "_PAUSE", 0.02)

    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            worker = Worker(Exhausted(fileno=os.dup(bound.fileno())))
            _, writer = await asyncio.open_connection(*bound.getsockname())
            await until(lambda: len(worker.mine) == 1)
            worker.listener.close()
            writer.close()
            await until(lambda: not worker.mine)

    run(work)
    assert caplog.text.count("no connection can be accepted: Too many open files") == 2
