"""Connections: what a client may send, and how long it may take, before and around the requests of the application.

The server reads the head of a request, and keeps a connection, before any key is checked. So everything here is
bounded: bytes of a head, seconds until it is complete, progress of a body and of the reading of an answer, connections
of one client and of all. Where there are too many, the one that has been idle for longest makes room, so that whoever
opens connections and says nothing shuts nobody out.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.http.clients import LEFT, client_name, is_trusted
from app.http.problem_responses import ProblemResponse
from app.problems import Problem
from app.settings import Network

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
"""Of the first line and the headers of a request; and of whatever else is no body, such as trailers."""

PROGRESS_BYTES = 16 * 1024
"""How much of a body, or of an answer, has to pass in the time that is given to it."""

_SLICE = 16 * 1024  # bytes that are parsed at a time, unless a body takes more: a head is too large by one at most
_SWEEP_SECONDS = 0.5
_LINGER_SECONDS = 3.0  # without a byte
_MAX_LINGER_SECONDS = 20.0
_DRAIN_SECONDS = 5.0
_DRAIN_BYTES = 1024 * 1024  # of a body are read that a connection may be used again
_MAX_UNWANTED_BODY = 64 * 1024 * 1024  # are read that the client may see its answer
_MAX_UNWANTED_HEAD = 1024 * 1024
_MAX_TURNED_AWAY = 64


@dataclass(frozen=True)
class ConnectionLimits:
    """Seconds, and numbers of connections. Trusted proxies speak for many clients: they are not counted as one."""

    total: int
    per_client: int
    head_seconds: float
    body_seconds: float
    trusted_proxies: Sequence[Network] = ()


class Connections:
    """All connections of a server: counts them, makes room for new ones, closes those that take too long."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._by_client: dict[str, OrderedDict[Connection, None]] = defaultdict(OrderedDict)  # longest silent first
        self._turned_away: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._by_client.values()))

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection:
        """A protocol for a new connection, as uvicorn asks for it."""
        return Connection(self, config, server_state, app_state, _loop)

    def enter(self, connection: Connection) -> bool:
        """Count a connection; False if there is no room for it, and no idle one that could make room."""
        mine = self._by_client.get(connection.client_name, OrderedDict())
        trusted = is_trusted(connection.address, self.limits.trusted_proxies)
        room = trusted or len(mine) < self.limits.per_client or self._evict(mine)
        if room and len(self) >= self.limits.total:
            room = any(self._evict(held) for held in sorted(self._by_client.values(), key=len, reverse=True))
        if room:
            self._by_client[connection.client_name][connection] = None
        elif len(self._turned_away) < _MAX_TURNED_AWAY:  # these are told so, the others are cut off
            self._turned_away.add(connection)
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(_SWEEP_SECONDS, self._sweep, connection.loop)
        return room

    def leave(self, connection: Connection) -> None:
        """Count a connection no longer. Idempotent."""
        self._turned_away.discard(connection)
        held = self._by_client.get(connection.client_name)
        if held is not None:
            held.pop(connection, None)
            if not held:
                del self._by_client[connection.client_name]

    def note_activity(self, connection: Connection) -> None:
        """Note that a connection is the last of its client's that said something."""
        held = self._by_client.get(connection.client_name)
        if held is not None and connection in held:
            held.move_to_end(connection)

    def will_answer(self, connection: Connection) -> bool:
        """Whether a connection for which there is no room is told why."""
        return connection in self._turned_away

    def _evict(self, held: Iterable[Connection]) -> bool:
        oldest = next((connection for connection in held if connection.can_make_room), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.transport.abort()
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in [*self._turned_away, *(one for held in self._by_client.values() for one in held)]:
            connection.check_time(now)
        left = bool(self._turned_away or self._by_client)
        self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep, loop) if left else None


class Connection(HttpToolsProtocol):
    """A connection of uvicorn's, within bounds."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = self.client_name = ""
        self.active_at = self.loop.time()
        self._all = connections
        self._limits = connections.limits
        self._in_message = False  # a request is coming in
        self._in_body = False  # its head is complete
        self._overhead = 0  # bytes since there was any body
        self._began_at = self.active_at  # the head, or the connection
        self._body = 0  # bytes of all bodies
        self._body_end = 0  # how many there will be with the rest of this one, if it said how long it is
        self._progress = 0  # how many there were at `_progress_at`
        self._progress_at = self.active_at
        self._unwanted = 0  # bytes of this request that are read and thrown away
        self._unsent = 0
        self._sending_at = self.active_at
        self._lingering_since: float | None = None
        self._presence = _Presence()
        self._running: RequestResponseCycle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is at work, and none has come in completely."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def can_make_room(self) -> bool:
        """Whether closing the connection would cut off nothing: neither a request nor an answer."""
        return self.is_idle and not self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the connection in, or say why not."""
        super().connection_made(transport)
        self._closing = _ClosingPolitely(transport, self)
        self.transport = cast(asyncio.Transport, self._closing)
        self.address = self.client[0] if self.client else ""
        self.client_name = client_name(self.address)
        if not self._all.enter(self):
            problem = Problem(
                "overloaded",
                "The service has as many connections as it takes. Close those that are not needed, and try again "
                "in 1 s.",
                headers={"Retry-After": "1"},
            )
            if self._all.will_answer(self):
                self._refuse(problem)
            else:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place away."""
        self._all.leave(self)
        self._lingering_since = None
        self._presence.left = True
        super().connection_lost(exc)
        if self._running is not None:  # of several requests that came at once, not the last one
            self._running.disconnected = True
            self._running.message_event.set()
        # From here on it refers to nothing that refers to it. Else it would be for the garbage collector to find it,
        # with all that its requests had: with hundreds of them a second that stops everybody for a tenth of a second.
        self._unset_keepalive_if_required()
        self._closing.connection = None
        self._running = None
        self.cycle = None  # type: ignore[assignment]
        self.pipeline.clear()

    def eof_received(self) -> None:
        """The client has no more to say: it has what it was answered."""
        if self._lingering_since is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse in small pieces, so that a head is never much larger than it may be; what is all body in one.

        Each piece of a body is copied together with those before it that nobody has read yet.
        """
        self.active_at = self.loop.time()
        self._all.note_activity(self)
        if self._lingering_since is not None:
            self._unwanted += len(data)
            if self._unwanted > (_MAX_UNWANTED_HEAD if self._overhead > MAX_HEAD_BYTES else _MAX_UNWANTED_BODY):
                self.transport.abort()
            return
        view = memoryview(data)
        while view and not self.transport.is_closing() and self.parser is not None:
            size = max(_SLICE, self._body_end - self._body)
            part, view = bytes(view[:size]), view[size:]
            before = self._body
            self._parse(part)
            if self._in_message and self._body == before and not self.is_lingering:
                self._overhead += len(part)
                if self._overhead > MAX_HEAD_BYTES:
                    self._refuse(Problem("head_too_large", f"The head is larger than {MAX_HEAD_BYTES:,} bytes."))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["state"][LEFT] = self._presence.has_left
        self._in_message, self._in_body = True, False
        self._overhead = self._unwanted = 0
        self._began_at = self.loop.time()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        super().on_headers_complete()
        self._in_body = True
        self._overhead = 0
        self._progress_at = self.loop.time()
        announced = next((value for name, value in self.headers if name == b"content-length"), b"0")
        self._body_end = self._body + int(announced)  # the parser lets nothing else through than digits

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        super().on_body(body)
        self._overhead = 0
        self._body += len(body)
        if self._body >= self._progress + PROGRESS_BYTES:
            self._progress, self._progress_at = self._body, self.loop.time()
        if self.is_idle:
            self._unwanted += len(body)
            if self._unwanted > _DRAIN_BYTES:
                self.linger()

    def on_message_complete(self) -> None:
        """It has come in."""
        super().on_message_complete()
        self._in_message = self._in_body = False

    def check_time(self, now: float) -> None:
        """Close the connection if the client takes too long for what it does."""
        if self._lingering_since is not None:
            if now - self.active_at > _LINGER_SECONDS or now - self._lingering_since > _MAX_LINGER_SECONDS:
                self.transport.abort()
            return
        if not self._is_read(now):
            logger.info("a client did not read its answer in time", extra={"fields": {"client": self.client_name}})
            self.transport.abort()
        elif not self.is_idle:
            if self._in_body and self._waits_for_body(now):
                self._refuse(_late("body", self._limits.body_seconds))
        elif self._in_body:
            if now - self._progress_at > _DRAIN_SECONDS:
                self.linger()
        elif self._in_message:
            if now - self._began_at > self._limits.head_seconds:
                self._refuse(_late("head", self._limits.head_seconds))
        elif self.cycle is None and now - self._began_at > self._limits.head_seconds:
            self.transport.abort()  # it never said anything

    def linger(self) -> None:
        """Close the connection, but read on while the client sends: only after that may it see what it was answered."""
        if self._lingering_since is None:
            self._lingering_since = self.active_at = self.loop.time()
            self._unset_keepalive_if_required()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.flow.resume_reading()

    def close(self, transport: asyncio.Transport) -> None:
        """Close the transport, at once where the client has sent all of its request."""
        if self._in_message and not transport.is_closing():
            self.linger()
        else:
            transport.close()

    @property
    def is_lingering(self) -> bool:
        """Whether the connection is only read from, and to be closed."""
        return self._lingering_since is not None

    def _parse(self, data: bytes) -> None:
        """Parse a piece, in place of uvicorn's `data_received`: that would answer and log what is no HTTP its own way.

        A request to change to another protocol is answered as if it had not asked: HTTP allows that (RFC 9110, 7.8).
        """
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            self._refuse(Problem("invalid_request", "The request is not valid HTTP/1.1.", status=400))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Run the application; that the server cancels it when it stops is no error of the application's."""

        async def run(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or not task.cancelling():  # something else was cancelled, and nobody expected it
                    raise
                cycle.disconnected = True
                self.transport.close()

        self._running = cycle
        super()._start_asgi_task(cycle, run)

    def _waits_for_body(self, now: float) -> bool:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:  # it is the service that is slow
            self._progress_at = now
        return now - self._progress_at > self._limits.body_seconds

    def _is_read(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent <= self._unsent - PROGRESS_BYTES or unsent > self._unsent:
            self._unsent, self._sending_at = unsent, now
        return now - self._sending_at <= self._limits.body_seconds

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no request of the application's, and close."""
        fields = {"client": self.client_name, "status": problem.status, "code": problem.code}
        logger.info("a connection was refused", extra={"fields": fields})
        if not self.is_idle:
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.abort()
                return
        problem.headers["Connection"] = "close"
        response = ProblemResponse(problem, uuid.uuid4().hex)
        head = [f"HTTP/1.1 {problem.status} {problem.kind.title}".encode()]
        head += [name + b": " + value for name, value in response.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.linger()


class _Presence:
    """Whether a client has left: outlives its connection, for those that work for it."""

    left = False

    def has_left(self) -> bool:
        return self.left


class _ClosingPolitely:
    """A transport whose `close` leaves it to the connection how, while there is one: the rest is the transport's."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        self._transport = transport
        self.connection: Connection | None = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self.connection is None:
            self._transport.close()
        else:
            self.connection.close(self._transport)

    def is_closing(self) -> bool:
        return (self.connection is not None and self.connection.is_lingering) or self._transport.is_closing()


def _late(what: str, seconds: float) -> Problem:
    return Problem("request_timeout", f"The {what} of the request did not come in within {seconds:g} s. Send it again.")
