"""What the catalog asks of a database: the seam between SQLAlchemy Core and one dialect.

There are `index.catalog.sqlite` and `index.catalog.postgres`. Everything else of this package is written against this
protocol and the plain SQL that dialects share, so another database is another module beside these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Insert, ScalarSelect, Select, Table

from index.errors import LibraryError
from index.types import EngineState

T = TypeVar("T")

PreparedQuery = Callable[..., list[Any]]
"""Runs a query; returns its rows as tuples."""


class Database(Protocol):
    """A database that is open. Thread-safe; after `close` everything raises LibraryClosed."""

    @property
    def location(self) -> str:
        """What errors name: a path, or a URL without secrets."""

    def write(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a transaction; return its result once that is durable.

        Nobody else writes meanwhile, in whatever process, and keys come in the order of these transactions.
        An exception rolls everything back and is raised here. LibraryBusy, EngineAway, StorageFailed, CatalogCorrupted.
        """

    def guard(self, check: Callable[[Connection], None]) -> None:
        """Have `check` called at the beginning of each transaction of `write` from now on: what it raises is raised."""

    def read(self) -> AbstractContextManager[Connection]:
        """Give a connection that cannot write; everything read through it describes one moment."""

    def connect(self) -> Connection:
        """Return a connection that cannot write, to keep; close it before the database."""

    def version(self, connection: Connection) -> int:
        """Return, cheaply, a number that changes for this connection whenever something was committed."""

    def now(self, connection: Connection) -> float:
        """Return the time of the clock that all processes of this catalog share, in seconds since the epoch."""

    def engine(self) -> EngineState | None:
        """Return how the server does; None if there is none."""

    def missing(self) -> LibraryError:
        """Return the error for a database without any tables, where a catalog should be."""

    def as_label(self, value: str) -> str:
        """Return a text as it comes out of a column of `schema.Label`."""

    def insert_missing(self, table: Table) -> Insert:
        """Return an INSERT that leaves out rows whose primary key is there already."""

    def prepare(self, query: Select[Any]) -> PreparedQuery:
        """Return a function that runs `query`, given its bound values by name, as quickly as can be.

        Each call is a transaction of its own, and values come as the driver gives them.
        """

    def gather(self, query: Select[Any]) -> PreparedQuery:
        """As `prepare`, but all rows are read at once: for many that are small, in many threads.

        Their values are numbers and texts.
        """

    def joined(self, query: Select[Any], blobs: str, *scalars: ScalarSelect[Any]) -> Select[Any]:
        """Return a query for one row instead of those of `query`, for the same reason.

        Its values are those of the first column, numbers, as text with commas between, and those of the column `blobs`,
        one after another, None both if there are none; and these `scalars`, read at the same moment.
        """

    def among(self, column: Column[Any], name: str) -> ColumnElement[bool]:
        """Return the condition that `column` has one of the values bound to `name`: what `many` makes of them."""

    def many(self, values: Sequence[int] | Sequence[str]) -> Any:
        """Return any number of values as one, to bind it."""

    def named_errors(self) -> AbstractContextManager[None]:
        """Raise what the driver raises as LibraryBusy, EngineAway, CatalogCorrupted or StorageFailed if it is one."""

    def damage(self, connection: Connection, *, thorough: bool) -> list[str]:
        """Return what is wrong with the structure of the database.

        It is complete if `thorough`; else it may leave out what would take long.
        """

    def size(self) -> int:
        """Return how many bytes the database takes up."""

    def close(self) -> None:
        """Finish the writes under way and give up every connection. Idempotent."""
