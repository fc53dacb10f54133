"""Where searches run: on few threads, however many requests there are, some of them for searches that take long.

A short search that comes alone is done by the event loop itself. Beside uploads and captions, a thread that is handed a
search waits for the interpreter's lock again and again, and so does the event loop that is to send its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from app.embedding.batcher import Left, never
from app.embedding.cache import Vector
from app.embedding.fairness import ClientLeft, FairPool
from app.search.engine import SearchEngine
from app.search.expression import Expression
from app.search.results import SearchOptions, SearchResult
from app.settings import Settings

T = TypeVar("T")

AT_A_TIME = 2
"""Searches at a time, and as many that may take long: half of one is spent without the interpreter's lock."""

_TOGETHER = 0.016
"""Seconds for which the answer to a search may wait for those to the next ones, where more searches wait."""

_SHARE = 1 / 3
"""How much of the event loop's time may go to searches."""

_IN_A_ROW = 0.1
"""Seconds of searches that may follow each other there."""

_MOST_OWED = 1.0
"""Seconds that one search which took longer than expected counts for, at most."""

_SHORT = 0.05
"""Seconds. Where the last search took longer, such as that of a library that is just being opened, a thread does it."""


class SearchThreads:
    """Runs the searches of a service, a client's turn at a time.

    In a library that is all on this machine, two at a time: a search is hundreds of short calls that let other threads
    run, and with several at a time passing the interpreter's lock around takes as long as the searches. Where they wait
    for engines on other machines, all that are admitted run at a time.
    """

    def __init__(self, engine: SearchEngine, settings: Settings) -> None:
        elsewhere = settings.max_searches if settings.catalog or settings.vectors else None
        self._engine = engine
        self._short = FairPool(elsewhere or AT_A_TIME, "visem-search", together=_TOGETHER)
        self._long = FairPool(elsewhere or AT_A_TIME, "visem-search-long")
        self._allowance = None if elsewhere else _Allowance()

    def begin(
        self,
        query: Expression | str | None,
        options: SearchOptions,
        image: Vector | None,
        client: str,
        then: Callable[[SearchResult], T],
        left: Left = never,
    ) -> Future[T]:
        """Search, and return before that; the future has what `then` makes of the result. ShuttingDown.

        As `SearchEngine.search`; ClientLeft if the client has `left` when its turn comes. What may go through many
        records has threads of its own, so that nobody waits for it.
        """
        self._engine.announce(query, left)
        pool = self._long if options.goes_far else self._short

        def search() -> T:
            if left():
                raise ClientLeft
            started = time.monotonic()
            result = then(self._engine.search(query, options, image))
            # What has no query embeds no sentence, such as the check whether the service is ready: it tells nothing.
            if self._allowance is not None and query is not None and not options.goes_far:
                self._allowance.is_short = time.monotonic() - started < _SHORT
            return result

        return pool.submit(client, search)

    async def answer(
        self,
        query: Expression,
        options: SearchOptions,
        client: str,
        then: Callable[[SearchResult], T],
        left: Left = never,
    ) -> T:
        """As `begin`, for the event loop: a short search that comes alone is done by its own thread."""
        allowance = self._allowance
        alone = self._short.is_idle and not options.goes_far
        if alone and allowance is not None and allowance.has_some() and self._engine.is_ready(options):
            with allowance.used():
                return then(self._engine.search(query, options, None))
        return await asyncio.wrap_future(self.begin(query, options, None, client, then, left))

    def refuse(self) -> None:
        """Take no more searches, and fail those that wait with ShuttingDown. Idempotent."""
        self._short.refuse()
        self._long.refuse()

    def close(self) -> None:
        """As `refuse`, and wait for those that run. Idempotent."""
        self._short.close()
        self._long.close()


class _Allowance:
    """The time of the event loop that searches may take. For its thread; `is_short` may be set by any."""

    def __init__(self) -> None:
        self.is_short = False
        """Whether the last search was."""
        self._seconds = 0.0
        self._at = time.monotonic()

    def has_some(self) -> bool:
        """Whether there is some left, and the next search seems to be short."""
        now = time.monotonic()
        self._seconds = min(_IN_A_ROW, self._seconds + _SHARE * (now - self._at))
        self._at = now
        return self.is_short and self._seconds > 0

    @contextmanager
    def used(self) -> Iterator[None]:
        """While a search is done there."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - started
            self._seconds = max(-_MOST_OWED, self._seconds - seconds)
            self.is_short = seconds < _SHORT
