"""Taking the connections of a socket: all that wait, or a worker's share of them.

A process that listens alone takes several connections in each round of the event loop. libuv's own server takes one:
while there is much to do a round is many milliseconds, and a newcomer waits as many rounds as connections came before.

Several workers share a socket. A server of asyncio takes all connections that wait as soon as it wakes. Where a client
opens sixteen at once, the worker that wakes first would serve them all, and the others none. Here a worker takes one,
and leaves the next ones to others for as many milliseconds as it has connections, within bounds. While connections
still wait after that, others do not take them in time, and it leaves them for less and less: a flood of them must not
keep a newcomer waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sized

logger = logging.getLogger(__name__)

_TURN = 0.001  # seconds for each connection that a worker has, in which others may take the next one
_LONGEST_TURN = 0.004
_SHORTER = 0.8  # so much of the last turn, where a connection still waited after it
_AT_ONCE = 0.0005  # seconds after a turn in which a connection is taken that came before its end
_IN_A_ROUND = 16  # connections that are taken before others are heard
_PAUSE = 1.0  # seconds until the next try, where the system has no descriptor or memory left


class Listener:
    """A server as uvicorn closes it, on a bound socket. For the event loop's thread."""

    def __init__(
        self, bound: socket.socket, protocol: Callable[[], asyncio.Protocol], mine: Sized, backlog: int, *, shared: bool
    ) -> None:
        """Listen from now on; `protocol` makes one for each connection, of which `backlog` may wait.

        `mine`: the connections that there are. `shared`: other workers listen on the socket, too.
        """
        self.sockets = [bound]
        self._bound = bound
        self._protocol = protocol
        self._mine = mine
        self._loop = asyncio.get_running_loop()
        self._take_some = self._take_share if shared else self._take_all
        self._closed = False
        self._patience = 1.0
        self._resumed = 0.0
        self._beginning: set[asyncio.Task[object]] = set()
        bound.setblocking(False)
        bound.listen(backlog)
        self._loop.add_reader(bound, self._take_some)

    def close(self) -> None:
        """Take no more connections; those that there are go on. Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._bound)
            self._bound.close()  # or clients would still connect, and wait for nobody

    async def wait_closed(self) -> None:
        """Return: what has been accepted belongs to its protocol."""

    def _take_all(self) -> None:
        for _ in range(_IN_A_ROUND):
            if not self._take():
                return

    def _take_share(self) -> None:
        if self._take():
            waited = self._loop.time() - self._resumed < _AT_ONCE
            self._patience = self._patience * _SHORTER if waited else 1.0
            self._rest(min(_TURN * (1 + len(self._mine)), _LONGEST_TURN) * self._patience)

    def _take(self) -> bool:
        """Take a connection; False if there is none, or none can be had now."""
        try:
            connection, _ = self._bound.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # none waits: another worker was first, or the client has left
        except OSError as error:
            logger.warning("no connection can be accepted: %s", error.strerror)
            self._rest(_PAUSE)
            return False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._begin(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return True

    async def _begin(self, connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):  # it has left
            await self._loop.connect_accepted_socket(self._protocol, connection)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._bound)
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._resumed = self._loop.time()
            self._loop.add_reader(self._bound, self._take_some)
