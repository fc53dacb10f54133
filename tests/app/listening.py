"""A service that listens on a port of this machine, in a thread, as `visem serve` runs it."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import uvicorn

from app.main import server_config
from app.service import Service


class Listening:
    """A server of a service; stop it by `close`, or use it as a context manager."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._server = uvicorn.Server(server_config(service))
        self._thread = threading.Thread(target=self._server.run, name="server")
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A new connection, from an address of this machine."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(source, 0))

    def get(self, path: str, source: str = "127.0.0.1", **headers: str) -> tuple[int, bytes]:
        """Status and body of a GET, in a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(source, 0))
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections)

    def hold_back(self) -> None:
        """From now on the kernel takes little at a time of what is sent over the connections that are open."""
        for connection in self._server.server_state.connections:
            held = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
            held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    @property
    def unsent(self) -> int:
        """How many bytes of answers wait until the kernel takes them."""
        return sum(one.transport.get_write_buffer_size() for one in self._server.server_state.connections)  # type: ignore[union-attr]

    def close(self) -> None:
        """Stop the server."""
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive(), "the server did not stop"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def closing_all() -> Iterator[list[Any]]:
    """A list whose sockets are closed at the end."""
    held: list[Any] = []
    try:
        yield held
    finally:
        for one in held:
            one.close()


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts: list[bytes] = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)
