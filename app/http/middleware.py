"""What surrounds every request, as plain ASGI: identity, log, metrics, headers, key, size. Outermost first.

RequestContext     request id, access log, metrics, security headers, the last resort for exceptions
Turns              clients take turns (turns.py)
HeadRequests       HEAD is GET without the body
LocalHosts         421 for a service on this machine that is addressed by another machine's name
SameSite           403 for changes, and costly reads, that a page of another site asks a browser for
Authentication     401 without a key or a session, 403 without its scope, before anything of the body is read
                   (authentication.py)
BodyLimit          413 for a body that is too large, announced or not, while it streams in; 503 without room for it
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.embedding.batcher import retry_later
from app.embedding.fairness import ByteBudget, ClientLeft
from app.http.clients import client_of, is_loopback
from app.http.metrics import Metrics
from app.http.problem_responses import MEDIA_TYPE, ProblemResponse, as_problem, from_status
from app.logs import ACCESS_LOGGER
from app.problems import PROBLEMS, Problem

logger = logging.getLogger(__name__)
access_logger = logging.getLogger(ACCESS_LOGGER)

REQUEST_ID_HEADER = "X-Request-ID"

RawHeader = tuple[bytes, bytes]
"""Name, in lower case, and value, as ASGI has them."""

_HEAD = "head"
"""What the state of a request has if it was HEAD."""

_RAW_REQUEST_ID = REQUEST_ID_HEADER.lower().encode()

CLIENT_CLOSED_REQUEST = 499
"""What logs and metrics say of a client that hung up before its request was complete; nobody else sees it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(?P<name>[^:/@\[\]]+|\[[^/@\[\]]+\])(:[0-9]*)?")
_ERROR_TYPES = (MEDIA_TYPE, "text/html; charset=utf-8")
_COSTLY = frozenset({"/", "/results", "/v1/map", "/v1/search"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class RequestContext:
    """Gives a request its id, and sees to it that every answer is logged, counted and has the usual headers.

    An answer of 400 or more which is neither a problem document nor a page becomes one: frameworks answer some
    errors themselves.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, cross_origin: bool = False) -> None:
        self._app = app
        self._metrics = metrics
        headers = dict(_DEFAULT_HEADERS)
        if cross_origin:  # pages of the allowed origins may show our images, not only fetch them
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        replaced = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, replaced
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:
                    headers = Headers(raw=message["headers"])
                    if headers.get("content-type") not in _ERROR_TYPES:
                        replaced = True
                        await _send_problem(scope, receive, send_finished, _replacement(status, headers))
                        return
                message = {**message, "headers": self._complete(message["headers"], request_id)}
            if not replaced:
                await send(message)

        async def send_finished(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._complete(message["headers"], request_id)}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except (ClientDisconnect, ClientLeft):
            status = status or CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:  # the server stops, and has waited for as long as it may
            if status:  # the answer is cut off with its connection: the server says how many were
                raise
            logger.warning("request %s was given up: the service is stopping", request_id)
            problem = Problem("shutting_down", PROBLEMS["shutting_down"].meaning, headers={"Connection": "close"})
            status = problem.status
            await _send_problem(scope, receive, send_finished, problem)
        except Exception as error:
            logger.exception("request %s failed", request_id)
            if status:  # too late for another answer: the server closes the connection
                raise
            problem = as_problem(error)
            status = problem.status
            await _send_problem(scope, receive, send_finished, problem)
        finally:
            self._report(scope, request_id, status, time.perf_counter() - started)

    def _complete(self, headers: Iterable[RawHeader], request_id: str) -> list[RawHeader]:
        """The headers of an answer with the id of its request, and with those defaults that it does not have itself."""
        own = [header for header in headers if header[0] != _RAW_REQUEST_ID]
        names = {name for name, _ in own}
        own.append((_RAW_REQUEST_ID, request_id.encode()))
        own.extend(header for header in self._headers if header[0] not in names)
        return own

    def _report(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", None)
        method = scope["method"]
        self._metrics.observe_request(method, route, status, seconds)
        client = scope.get("client")
        access_logger.info(
            "request",
            extra={
                "fields": {
                    "request_id": request_id,
                    "method": method,
                    "path": scope["path"],  # without the query, which may be private
                    "route": route,
                    "status": status,
                    "milliseconds": round(seconds * 1000, 1),
                    "client": client[0] if client else None,
                }
            },
        )


class HeadRequests:
    """Answers HEAD as GET, without the body: RFC 9110 demands it of every resource that has GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope.setdefault("state", {})[_HEAD] = True
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send_without_body)
        finally:
            scope["route"] = inner.get("route")  # for the log and the metrics


def is_head(request: Request) -> bool:
    """Tell whether a request that is answered as GET was HEAD."""
    return getattr(request.state, _HEAD, False)


class LocalHosts:
    """Refuses requests for hosts that are neither this machine nor those of allowed origins.

    For a service that only this machine reaches, and that has no key: a web page whose own host name is made to
    resolve to 127.0.0.1 ("DNS rebinding") is of the same site as the service to a browser, and could read all of
    it. The Host header gives it away. What did not come in at an address of this machine is only looked at where
    something else publishes the service (`published`): a program that runs the application without a socket has no
    such pages. Starlette's TrustedHostMiddleware knows no range of addresses, and cannot say what to do.
    """

    def __init__(
        self, app: ASGIApp, locked: Callable[[], bool], allowed_origins: Sequence[str] = (), published: bool = False
    ) -> None:
        self._app = app
        self._locked = locked
        self._published = published
        self._any = "*" in allowed_origins
        self._allowed = frozenset(_host_name(origin.partition("://")[2]) for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        looked_at = scope["type"] == "http" and (self._published or _came_in_locally(scope))
        if looked_at and not self._locked() and not self._admits(Headers(scope=scope)):
            problem = Problem(
                "misdirected_request",
                "This service has no API key, so it answers on this machine only: call it localhost or 127.0.0.1. "
                "To reach it under another name, such as that of a proxy, set VISEM_API_KEY, or add the origin "
                '(["https://NAME"]) to VISEM_ALLOWED_ORIGINS.',
            )
            await _send_problem(scope, receive, send, problem)
            return
        await self._app(scope, receive, send)

    def _admits(self, headers: Headers) -> bool:
        name = _host_name(headers.get("host", ""))
        return self._any or (bool(name) and (is_loopback(name) or name in self._allowed))


def _came_in_locally(scope: Scope) -> bool:
    address, _ = scope.get("server") or ("", None)
    return is_loopback(address)


def _host_name(host: str) -> str:
    """The name or address in a Host header, in lower case and without port and brackets; empty for nonsense."""
    found = _HOST.fullmatch(host)
    return found["name"].strip("[]").lower() if found else ""


class SameSite:
    """Refuses changes, and costly reads, that a page of another site asks a browser for; programs send no such headers.

    Without it any web page could write to a service on the reader's own machine, which has no key, or keep it busy.
    A link from another site to a page or an answer is followed.
    """

    def __init__(self, app: ASGIApp, allowed_origins: Sequence[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS and not self._admits(Headers(scope=scope)):
            await self._refuse(scope, receive, send, "this change")
            return
        if scope["type"] == "http" and scope["path"] in _COSTLY and not self._admits_reading(Headers(scope=scope)):
            await self._refuse(scope, receive, send, "this, which takes the service a while")
            return
        await self._app(scope, receive, send)

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send, what: str) -> None:
        problem = Problem(
            "cross_site_request",
            f"A page of another site asked for {what}. If it may, add its origin to VISEM_ALLOWED_ORIGINS.",
        )
        await _send_problem(scope, receive, send, problem)

    def _admits_reading(self, headers: Headers) -> bool:
        followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        other = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        return followed or not other or self._admits(headers)

    def _admits(self, headers: Headers) -> bool:
        origin = headers.get("origin", "")
        if "*" in self._allowed or origin in self._allowed:
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:  # only for trustworthy addresses: https, and this machine
            return site in ("same-origin", "none")
        try:
            return not origin or urlsplit(origin).netloc == headers.get("host", "")
        except ValueError:  # no address at all
            return False


@dataclass(frozen=True)
class BodyKind:
    """What bodies of a kind may have: bytes of one, by a `setting`, and of all received at a time (`budget`)."""

    limit: int
    setting: str
    budget: ByteBudget


class BodyLimit:
    """Refuses bodies beyond a limit, before or while they are received, and those for which there is no room now."""

    def __init__(self, app: ASGIApp, kind: Callable[[str], BodyKind]) -> None:
        """`kind` of a content type."""
        self._app = app
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        kind = self._kind(headers.get("content-type", ""))
        announced = headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > kind.limit):
            await _send_problem(scope, receive, send, _too_large(kind))
            return
        with _Room(kind.budget, client_of(scope)) as room:
            await self._receive(scope, receive, send, kind, room, int(announced) if announced.isdigit() else 0)

    async def _receive(
        self, scope: Scope, receive: Receive, send: Send, kind: BodyKind, room: _Room, announced: int
    ) -> None:
        if not room.grow_to(announced):
            await _send_problem(scope, receive, send, _no_room())
            return
        received = 0
        refusal: Problem | None = None
        answered = False

        async def receive_within_limit() -> Message:
            nonlocal received, refusal
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > kind.limit:
                    refusal = _too_large(kind)
                elif not room.grow_to(received):
                    refusal = _no_room()
                if refusal is not None:
                    raise refusal
            return message

        async def send_unless_exceeded(message: Message) -> None:
            nonlocal answered
            if refusal is not None and not answered:
                return  # whatever the application makes of the failed read: our own answer follows
            answered = True
            room.close()  # what was received has been used
            await send(message)

        try:
            await self._app(scope, receive_within_limit, send_unless_exceeded)
        except Exception:
            if refusal is None or answered:
                raise
        if refusal is not None and not answered:
            await _send_problem(scope, receive, send, refusal)


class _Room:
    """What a body takes of a budget."""

    def __init__(self, budget: ByteBudget, client: str) -> None:
        self._budget = budget
        self._client = client
        self._size = 0

    def grow_to(self, size: int) -> bool:
        """Take room for a body of this size in all; False if there is none."""
        more = size - self._size
        if more > 0:
            if not self._budget.try_take(self._client, more):
                return False
            self._size = size
        return True

    def close(self) -> None:
        size, self._size = self._size, 0
        if size:
            self._budget.give_back(self._client, size)

    def __enter__(self) -> _Room:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _too_large(kind: BodyKind) -> Problem:
    return Problem(
        "request_too_large",
        f"The body is larger than {kind.limit:,} bytes. Send less at once, or raise {kind.setting}.",
        headers={"Connection": "close"},
        limit=kind.limit,
        setting=kind.setting,
    )


def _no_room() -> Problem:
    seconds = retry_later(5)
    return Problem(
        "overloaded",
        "The service takes in as many bytes of requests as it has room for. This one was not begun. "
        f"Try again in {seconds} s.",
        headers={"Retry-After": str(seconds), "Connection": "close"},
    )


def _replacement(status: int, headers: Headers) -> Problem:
    kept = {name: headers[name] for name in ("content-range", "allow", "vary") if name in headers}
    return from_status(status, kept)


def _request_id(scope: Scope) -> str:
    """The client's id if harmless, so that a request can be followed across services; else a new one."""
    offered = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return offered if _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


async def _send_problem(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    await ProblemResponse(problem, scope["state"]["request_id"])(scope, receive, send)
