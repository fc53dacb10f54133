"""All that is particular to PostgreSQL: connections, locks, types and options of tables, names of errors.

A library is in one schema: the first one of the `search_path`, so `public` of a database of its own if nothing else is
said. Another one is chosen in the URL: `postgresql+psycopg://user@host/database?options=-csearch_path%3Dname`.

**Writers take turns.** Each transaction that writes takes an advisory lock first, whichever process or machine it is
on, and PostgreSQL releases the lock only after the commit is visible. So keys, which come from sequences, ascend in
commit order, and whoever has seen a key has seen all smaller ones. A writer that dies loses the lock with its
connection; one that is cut off, or pauses too long between two statements, loses it after `_HELD` seconds.

**Readers see one moment**: their transactions are REPEATABLE READ and READ ONLY. The snapshot itself tells whether
anything was committed (`pg_current_snapshot`): it says which transactions have ended, so two equal ones see the same.

**When PostgreSQL is away**, EngineAway is raised, and after some failed attempts nobody tries to connect for a second.
Connections that were not in use just now are tested first, so whatever comes after its return works.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

import psycopg
from sqlalchemy import (
    ARRAY,
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Insert,
    Integer,
    ScalarSelect,
    Select,
    String,
    Table,
    Text,
    any_,
    bindparam,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry

from index.breaker import CircuitBreaker
from index.catalog import schema
from index.catalog.database import PreparedQuery
from index.catalog.dialects import COMPILED
from index.catalog.postgres_dialect import POSTGRESQL
from index.errors import (
    CatalogCorrupted,
    CatalogUnsupported,
    EngineAway,
    LibraryBusy,
    LibraryClosed,
    LibraryError,
    LibraryNotFound,
    LibraryReplaced,
    StorageFailed,
)
from index.types import EngineState

T = TypeVar("T")

_CONNECT = 5  # seconds to wait for a connection to be made
_UNHEARD = 10_000  # milliseconds after which a machine that acknowledges nothing is away
_POOL = 8  # connections that stay open
_MORE = 16  # others that are opened under load
_BUSY = 30.0  # seconds to wait for the writers' lock, or for a connection of the pool
_HELD = 120  # seconds that a transaction may do nothing before it loses its lock
_STATEMENT = 600  # seconds; a reindex swaps a large library within this
_FRESH = 0.5  # seconds after its last use in which a connection is not tested, as in HikariCP
_PAUSE = 1.0  # seconds in which nobody tries to connect, after several have failed

_LOCK = text(
    """SELECT set_config('idle_in_transaction_session_timeout', :held, true),
    pg_advisory_xact_lock((1447646541::bigint << 32) + (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    ::bigint)"""
).bindparams(held=f"{_HELD}s")
"""Takes the writers' lock of this schema (1447646541 is "VISM") until the transaction ends."""

_SNAPSHOT = "SELECT pg_current_snapshot()::text"
_LONGEST_LABEL = 500  # bytes; an entry of an index has room for two of them and a key
_ESCAPE = re.compile("[\x00\x10]")
_ESCAPED = re.compile("\x10([0p])")


class PostgresDatabase:
    """A schema of a PostgreSQL database, which any number of threads and processes read and write."""

    def __init__(self, url: URL, busy_timeout: float = _BUSY) -> None:
        """Connect; EngineAway, CatalogUnsupported if there is no such schema."""
        bare = url.set(password=None, query={})
        self.location = bare.render_as_string()
        self._busy_timeout = busy_timeout
        self._check: Callable[[Connection], None] = lambda _: None
        self._breaker = CircuitBreaker("catalog", pause=_PAUSE)
        self._engine = _engine(url, self.location, busy_timeout, self._breaker)
        self._readers = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writers = self._engine.execution_options(isolation_level="READ COMMITTED")
        self._writing = threading.Lock()
        self._closed = False
        try:
            with self.read() as connection:
                if connection.execute(select(func.current_schema())).scalar() is None:
                    raise CatalogUnsupported(
                        f"The schema that {self.location} names in its search_path does not exist. Create it first."
                    )
        except BaseException:
            self.close()
            raise

    def write(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a transaction while nobody else writes; return its result once that is durable."""
        if not self._writing.acquire(timeout=self._busy_timeout):
            raise LibraryBusy
        try:
            self._require_open()
            with self.named_errors(), self._writers.begin() as connection:
                connection.execute(_LOCK)
                self._check(connection)
                return function(connection)
        finally:
            self._writing.release()

    def guard(self, check: Callable[[Connection], None]) -> None:
        """Have `check` called at the beginning of each transaction of `write` from now on."""
        self._check = check

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that cannot write; everything read through it describes one moment."""
        with self.named_errors(), self.connect() as connection:  # also what ending it raises
            yield connection

    def connect(self) -> Connection:
        """Return a connection that cannot write, to keep; close it before the database."""
        self._require_open()
        with self.named_errors():
            return self._readers.connect()

    def close(self) -> None:
        """Finish the write under way and give up every connection."""
        self._closed = True
        event.listen(self._engine, "checkin", _close_returned)  # those that readers have now
        with self._writing:
            self._engine.dispose()

    def version(self, connection: Connection) -> int:
        """Return a number that changes whenever something was committed; of its moment, if `connection` is in one.

        Two snapshots have the same number with a probability of 2^-64. Commits to other schemas change it, too.
        """
        if connection.in_transaction():
            return hash(connection.exec_driver_sql(_SNAPSHOT).scalar_one())
        snapshot = self._once_more(lambda: self._snapshot(connection))
        return hash(snapshot)

    def now(self, connection: Connection) -> float:
        """Return the time of the server."""
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    def engine(self) -> EngineState:
        """Return how the server does, as far as connections are made to it."""
        return self._breaker.state()

    def insert_missing(self, table: Table) -> Insert:
        """Return an INSERT that leaves out rows whose primary key is there already."""
        return insert(table).on_conflict_do_nothing()

    def missing(self) -> LibraryError:
        """Return the error for a schema without tables."""
        return LibraryNotFound(self.location)

    def as_label(self, value: str) -> str:
        """Return a text as labels have it: long ones, which no index takes, by their SHA-256."""
        return _as_label(value)

    def damage(self, connection: Connection, *, thorough: bool) -> list[str]:
        """Return nothing: looking after its files is the server's business (`pg_amcheck`, checksums)."""
        return []

    def size(self) -> int:
        """Return how many bytes the tables and indexes of the schema take up."""
        query = text(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
        with self.read() as connection:
            return int(connection.execute(query).scalar_one())

    def prepare(self, query: Select[Any]) -> PreparedQuery:
        """Return a function that runs `query`; the driver prepares what runs often."""

        def run(**values: Any) -> list[Any]:
            def fetch() -> list[Any]:
                with self._single.connect() as connection:
                    return [tuple(row) for row in connection.execute(query, values)]

            self._require_open()
            with self.named_errors():
                return self._once_more(fetch)

        return run

    def gather(self, query: Select[Any]) -> PreparedQuery:
        """Return a function that runs `query` and gives its rows."""
        return self.prepare(query)

    def joined(self, query: Select[Any], blobs: str, *scalars: ScalarSelect[Any]) -> Select[Any]:
        """Return a query for the first column of `query` and for its `blobs`, as one value each."""
        rows = query.subquery()
        key, *_ = rows.c
        keys = func.string_agg(key.cast(Text), aggregate_order_by(text("','"), key))
        joined = func.string_agg(rows.c[blobs], aggregate_order_by(text("''::bytea"), key))
        return select(keys, joined.label(blobs), *scalars)

    def among(self, column: Column[Any], name: str) -> ColumnElement[bool]:
        """Return the condition that `column` has one of the values bound to `name`."""
        return column == any_(bindparam(name, type_=ARRAY(type(column.type))))

    def many(self, values: Sequence[int] | Sequence[str]) -> list[Any]:
        """Return any number of values as one: an array."""
        return list(values)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Raise what the driver raises as an error of libraries, where it is one."""
        try:
            yield
        except PoolTimeout as error:  # all connections are in use
            raise LibraryBusy from error
        except (DBAPIError, psycopg.Error) as error:
            named = _named(error, self.location)
            if named is None:
                raise
            raise named from error

    def _require_open(self) -> None:
        if self._closed:
            raise LibraryClosed

    def _snapshot(self, connection: Connection) -> str:
        """Ask for a snapshot without beginning a transaction, which would be held to it."""
        pooled = connection.connection  # a new one where the last was lost
        driver = cast("psycopg.Connection[tuple[str]]", pooled.driver_connection)
        try:
            driver.autocommit = True
            try:
                [(snapshot,)] = driver.execute(_SNAPSHOT)
            finally:
                if not driver.closed:
                    driver.autocommit = False
        except psycopg.OperationalError:
            if driver.closed:
                connection.invalidate()
            raise
        return snapshot

    def _once_more(self, read: Callable[[], T]) -> T:
        """Read again, once, where the connection was lost: reading twice does no harm."""
        try:
            return read()
        except (DBAPIError, psycopg.OperationalError) as error:
            if not _is_lost(error):
                raise
            self._breaker.retried()
            time.sleep(0.02 + secrets.randbelow(80) / 1000)  # not every reader at once
            return read()


def _engine(url: URL, location: str, busy_timeout: float, breaker: CircuitBreaker) -> Engine:
    engine = create_engine(
        url.set(drivername=POSTGRESQL),
        execution_options={"compiled_cache": COMPILED},
        pool_size=_POOL,
        max_overflow=_MORE,
        pool_timeout=busy_timeout,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": _CONNECT,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": _UNHEARD,
            "application_name": "visem",
            **url.query,
        },
    )
    engine.dialect.colspecs = {**engine.dialect.colspecs, Integer: _Integer, Text: _Text, schema.Label: _Label}

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, _record: object, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        with breaker.call():
            try:
                return dialect.connect(*arguments, **options)
            except psycopg.OperationalError as error:
                raise EngineAway("catalog", f"{location}: {_reason(error)}") from error

    @event.listens_for(engine, "connect")
    def configure(connection: psycopg.Connection[Any], _record: object) -> None:
        with ExitStack() as stack:
            stack.callback(connection.close)  # or else the pool would lose it
            connection.autocommit = True
            connection.execute(
                f"SELECT set_config('lock_timeout', '{round(busy_timeout * 1000)}ms', false), "
                f"set_config('statement_timeout', '{_STATEMENT}s', false), "
                # The server is to notice as soon that a client is cut off: it may have the writers' lock.
                f"set_config('tcp_user_timeout', '{_UNHEARD}', false), set_config('tcp_keepalives_idle', '5', false), "
                "set_config('tcp_keepalives_interval', '2', false), set_config('tcp_keepalives_count', '3', false), "
                # What is acknowledged has to survive the server.
                "CASE current_setting('synchronous_commit') "
                "WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END"
            )
            connection.autocommit = False
            stack.pop_all()

    @event.listens_for(engine, "checkin")
    def note_use(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def test(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Test a connection before use: what `pool_pre_ping` does, but not again and again in one search."""
        if time.monotonic() - record.info.get("used", math.inf) < _FRESH:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.OperationalError as error:
            raise InvalidatePoolError from error

    return engine


def _close_returned(_connection: object, record: ConnectionPoolEntry) -> None:
    """Close a connection that comes back to a pool which nobody uses any more."""
    record.invalidate()


class _Integer(BigInteger):
    """All numbers have 64 bits, as they have in SQLite."""

    render_bind_cast = True


class _Text(String):
    """Any text: PostgreSQL stores none with the character NUL, which is escaped."""

    render_bind_cast = True

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        return lambda value: None if value is None else _escape(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], str | None]:
        return lambda value: _ESCAPED.sub(_unescaped, value) if value and "\x10" in value else value


class _Label(_Text):
    """Text that is only ever compared for equality, in an index."""

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        return lambda value: None if value is None else _escape(_as_label(value))


@compiles(Integer, "postgresql")
def _bigint(_type: Integer, _compiler: object, **_options: object) -> str:
    """What `_Integer` is called in the definition of a table."""
    return "BIGINT"


def _as_label(value: str) -> str:
    encoded = value.encode()
    return value if len(encoded) <= _LONGEST_LABEL else f"\x10sha256:{hashlib.sha256(encoded).hexdigest()}"


def _escape(value: str) -> str:
    return _ESCAPE.sub(lambda found: "\x100" if found[0] == "\x00" else "\x10p", value)


def _unescaped(found: re.Match[str]) -> str:
    return "\x00" if found[1] == "0" else "\x10"


def _set_options() -> None:
    """Turn what the schema says of its tables into options of PostgreSQL."""
    for table in schema.tables.sorted_tables:
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_options["postgresql"]["where"] = index.info["where"]


_set_options()


@event.listens_for(schema.sentences, "after_create")
def _allow_long_sentences(_table: Table, connection: Connection, **_options: object) -> None:
    """Compare sentences by a hash index: one may be longer than an entry of a B-tree."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "ALTER TABLE sentences DROP CONSTRAINT sentences_text_key, "
            "ADD CONSTRAINT sentences_text_key EXCLUDE USING hash (text WITH =)"
        )


def _named(error: DBAPIError | psycopg.Error, location: str) -> LibraryError | None:
    """Return the error of libraries that an error of the driver is, by its SQLSTATE; None if it is none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlstate", None) or ""
    reason = _reason(original)
    if code in ("55P03", "57014", "40001", "40P01"):  # a time-out, or two that waited for each other
        return LibraryBusy()
    # full, out of memory, input/output, a standby server, too long for an index
    if code in ("53100", "53200", "58030", "25006", "54000"):
        return StorageFailed(location, reason)
    if code.startswith("XX00"):
        return CatalogCorrupted(location, reason)
    if code in ("3F000", "42501"):  # no such schema, no permission
        return CatalogUnsupported(f"{location} cannot hold a library: {reason}. Create the schema, or grant its use.")
    if code == "42P01":  # a table that was there when the catalog was opened
        return LibraryReplaced(location)
    if _is_lost(error):
        return EngineAway("catalog", f"{location}: {reason}")
    return None


def _reason(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _is_lost(error: DBAPIError | psycopg.Error) -> bool:
    """Tell whether there is no connection (any more), rather than a fault of a statement."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlstate", None) or ""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    # 08: connections; 28, 3D: who may connect, and to what; 57P0: shutting down, starting up; 25P03: idle for too long
    lost = code.startswith(("08", "28", "3D", "57P0")) or code in ("25P03", "53300")
    return lost or (not code and isinstance(original, psycopg.OperationalError))
