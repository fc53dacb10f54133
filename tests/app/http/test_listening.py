"""Sockets that several workers listen on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.http import listening
from app.http.listening import Listener


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
    """What a worker does with a socket that it shares."""

    def __init__(self, bound: socket.socket, backlog: int = 64) -> None:
        self.mine: set[object] = set()
        self.listener = Listener(bound, lambda: Counted(self.mine), self.mine, backlog)


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run in an event loop of another thread."""

    async def all_of_it() -> None:
        await asyncio.wait_for(work(), 30)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(all_of_it())).result()


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


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


def test_who_has_closed_leaves_connections_to_others_and_goes_on_with_its_own() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound, bound.dup() as same:
            first = Worker(bound)
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            await until(lambda: len(first.mine) == 1)
            first.listener.close()
            first.listener.close()
            await first.listener.wait_closed()
            _, second_writer = await asyncio.open_connection(*bound.getsockname())
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
            worker.listener.sockets[0].close()

    run(work)
    assert caplog.text.count("no connection can be accepted: Too many open files") == 2
