"""Who may do what: keys and sessions, the scope that each request needs, and a brake on guessing."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable

from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from app.http.clients import client_name
from app.http.problem_responses import ProblemResponse
from app.keys import Key, KeyRing, Scope
from app.problems import Problem
from app.shared.files import SharedFiles

COOKIE = "visem_session"
"""What carries a session: see `app.web.sign_in`."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_POSTS = frozenset({"/v1/search", "/v1/search/image", "/v1/embeddings", "/v1/captions", "/pictures"})
_SIGNING = frozenset({"/sign-in", "/sign-out"})


def needed_scope(method: str, path: str) -> Scope | None:
    """The scope that a request needs; None if anybody may ask: pages send strangers to the sign-in themselves."""
    if path == "/metrics":
        return "metrics"
    if path.startswith(("/v1/sources", "/sources")):
        return "write"  # they tell about the machine of the service, which is not for guests
    reads = method in _SAFE_METHODS or path in _READING_POSTS
    if path == "/v1" or path.startswith("/v1/"):
        return "read" if reads else "write"
    return None if reads or path in _SIGNING else "write"


_TIME = struct.Struct("<d")


class Guesses:
    """Counts wrong keys by client: after some within a minute the client waits. Thread-safe by the event loop.

    With `shared`, keys that other workers of the service were offered count as well.
    """

    LIMIT = 10
    SECONDS = 60.0
    _CLIENTS = 10_000

    def __init__(self, clock: Callable[[], float] = time.monotonic, shared: SharedFiles | None = None) -> None:
        """`clock`: seconds, the same for all processes of the machine."""
        self._clock = clock
        self._wrong: LRUCache[str, deque[float]] = LRUCache(self._CLIENTS)
        self._shared = shared

    def wait(self, client: str) -> float:
        """Return for how many seconds a client may not try another key; 0 if it may."""
        times = self._recent(client)
        return 0.0 if len(times) < self.LIMIT else times[0] + self.SECONDS - self._clock()

    def count(self, client: str) -> None:
        """Remember that a key of this client was wrong."""
        name, now = client_name(client), self._clock()
        if self._shared is not None:
            self._shared.append(name, _TIME.pack(now), most=self.LIMIT * _TIME.size)
            return
        times = self._recent(client)
        times.append(now)
        self._wrong[name] = times

    def _recent(self, client: str) -> deque[float]:
        name = client_name(client)
        if self._shared is not None:
            kept = self._shared.get(name) or b""
            whole = len(kept) - len(kept) % _TIME.size
            times = deque((time for (time,) in _TIME.iter_unpack(kept[:whole])), maxlen=self.LIMIT)
        else:
            times = self._wrong.get(name) or deque(maxlen=self.LIMIT)
        while times and times[0] <= self._clock() - self.SECONDS:
            times.popleft()
        return times


class Authentication:
    """Finds out whose key a request has (`request.state.key`), and refuses it where that does not suffice.

    A key is sent as a bearer token or as X-API-Key; pages carry a session's cookie. A client that has guessed too
    often waits, but for keys that nobody can guess: who has one is not shut out by others behind the same address.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, guesses: Guesses) -> None:
        self._app = app
        self._keys = keys
        self._guesses = guesses

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and self._keys.locked:
            problem = self._check(scope)
            if problem is not None:
                await ProblemResponse(problem, scope["state"]["request_id"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Connection) -> Problem | None:
        needed = needed_scope(scope["method"], scope["path"])
        headers = Headers(scope=scope)
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        key = self._keys.find_session(cookie) if cookie else None
        offered = _offered(headers)
        if key is None and offered and needed is not None:
            found = self._try(peer_address(scope), offered)
            if isinstance(found, Problem):
                return found
            key = found
        scope["state"]["key"] = key
        if needed is None or (key is not None and key.may(needed)):
            return None
        if needed == "write" and not scope["path"].startswith("/v1/"):
            return None  # a page: it sends strangers to the sign-in, and tells others in HTML
        if key is not None:
            return forbidden(key, needed)
        return Problem(
            "unauthorized",
            "The API key is missing or wrong. Send it as Authorization: Bearer KEY or X-API-Key: KEY.",
            headers={"WWW-Authenticate": 'Bearer realm="visem"'},
        )

    def _try(self, client: str, offered: list[str]) -> Key | Problem | None:
        found = [key for secret in offered if (key := self._keys.find_random(secret)) is not None]
        if found:
            return found[0]
        return try_key(self._keys, self._guesses, client, offered)


def try_key(keys: KeyRing, guesses: Guesses, client: str, offered: list[str]) -> Key | Problem | None:
    """The key with one of these secrets; None if there is none, which is counted; a Problem for who has to wait."""
    seconds = guesses.wait(client)
    if seconds > 0:
        return Problem(
            "too_many_attempts",
            "There were too many wrong keys from this address. Try again later.",
            headers={"Retry-After": str(int(seconds) + 1)},
        )
    found = [key for secret in offered if (key := keys.find(secret)) is not None]
    if not found:
        guesses.count(client)
        return None
    return found[0]


def may(request: Request, scope: Scope) -> bool:
    """Whether who asks may do what needs this scope: anybody, where there is no key."""
    keys: KeyRing = request.app.state.keys
    key: Key | None = getattr(request.state, "key", None)
    return not keys.locked or (key is not None and key.may(scope))


def peer_address(scope: Connection) -> str:
    """The address that a request came from."""
    return scope["client"][0] if scope.get("client") else ""


def _offered(headers: Headers) -> list[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    offered = [headers.get("x-api-key", "")]
    if scheme.lower() == "bearer":
        offered.append(token.strip())
    return [secret for secret in offered if secret]


def forbidden(key: Key, needed: Scope) -> Problem:
    """The message for a key that does not suffice."""
    return Problem(
        "forbidden",
        f"The key {key.name} has the scope {key.scope}, and this needs {needed}. `visem key add` makes such a key.",
        needed=needed,
    )
