"""The threads that searches run on: few, however many requests there are, and some for searches that take long."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
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
            return then(self._engine.search(query, options, image))

        return pool.submit(client, search)

    def refuse(self) -> None:
        """Take no more searches, and fail those that wait with ShuttingDown. Idempotent."""
        self._short.refuse()
        self._long.refuse()

    def close(self) -> None:
        """As `refuse`, and wait for those that run. Idempotent."""
        self._short.close()
        self._long.close()
