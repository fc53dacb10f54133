"""All that is particular to SQLite: one file, its connections, transactions and options of tables, names of errors.

A thread owns the only write connection; readers have a pool of read-only ones. A file that cannot be written, or that
lies in a folder which cannot, is only read: every write is refused as StorageFailed.

After datasette's `database.py`: callers hand functions to the writer thread and wait. Each runs in a
transaction of its own that begins with BEGIN IMMEDIATE, so that two processes take turns instead of failing
half-way, and that is on the disk (WAL, synchronous=FULL) before the caller hears of it.
"""

from __future__ import annotations

import json
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    LargeBinary,
    NullPool,
    Pool,
    QueuePool,
    ScalarSelect,
    Select,
    Table,
    Text,
    bindparam,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import dialect, insert
from sqlalchemy.exc import DBAPIError

from index.catalog import schema
from index.catalog.database import PreparedQuery
from index.catalog.dialects import COMPILED, SQLITE
from index.errors import CatalogCorrupted, LibraryBusy, LibraryClosed, LibraryError, StorageFailed
from index.layout import CATALOG_FILE

T = TypeVar("T")

# The file is not mapped into memory: every connection would map it anew, which makes the memory of a process look many
# times as large as it is. The system keeps its pages for all processes in either case, and reading one takes as long.
_READING = ("PRAGMA query_only = ON",)
_PAGE = 8192  # bytes; three records with a vector of 1,024 components fit, of which 4,096 bytes hold but one
# New ids and names belong anywhere in their indexes: whoever writes keeps these at hand, and lets changes gather before
# they go from the log into the file.
_WRITING = ("PRAGMA synchronous = FULL", "PRAGMA cache_size = -65536", "PRAGMA wal_autocheckpoint = 4096")
_BUSY_TIMEOUT = 30.0  # seconds; a reindex swaps a large library within this
_CHECKED_QUICKLY = 16 * 2**20  # bytes; the structure of a larger file is checked only where that may take long


def default_url(folder: Path) -> URL:
    """Return the URL of the catalog in the folder of a library."""
    return URL.create("sqlite", database=str(folder / CATALOG_FILE))


class SqliteDatabase:
    """A SQLite file that is open for reading by many threads and for writing by one."""

    def __init__(self, path: Path, busy_timeout: float = _BUSY_TIMEOUT) -> None:
        """Open or create the file; CatalogCorrupted if it is something else than a database."""
        self.path = path
        self.location = str(path)
        self._busy_timeout = busy_timeout
        self._log = path.with_name(f"{path.name}-wal")
        self._read_only = _is_read_only(path)
        # Without a write-ahead log nobody has the file open, and SQLite, which could not make one, need not look.
        self._immutable = _signature(path) if self._read_only and not self._log.exists() else None
        self._check: Callable[[Connection], None] = lambda _: None
        self._writers = self._engine(NullPool, "BEGIN IMMEDIATE", _WRITING)
        self._readers = self._engine(QueuePool, "BEGIN", _READING, pool_size=8, max_overflow=-1)
        with self.named_errors():
            self._writer = self._open_writer()
        self._queue: queue.SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None]
        self._queue = queue.SimpleQueue()
        self._idle: deque[sqlite3.Connection] = deque()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="visem-catalog-writer", daemon=True)
        self._thread.start()

    def write(self, function: Callable[[Connection], T]) -> T:
        """Run `function` on the writer thread in a transaction; return its result once that is durable.

        An exception rolls everything back and is raised here.
        """
        future: Future[T] = Future()
        with self._closing:  # nothing may be queued behind the mark that ends the thread
            if self._closed:
                raise LibraryClosed
            self._queue.put((function, future))
        with self.named_errors():
            return future.result()

    def guard(self, check: Callable[[Connection], None]) -> None:
        """Have `check` called at the beginning of each transaction of `write` from now on."""
        self._check = check

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a read-only connection; everything read through it describes one moment."""
        with self.named_errors(), self.connect() as connection:  # also what ending it raises
            yield connection

    def connect(self) -> Connection:
        """Return a read-only connection to keep; close it before the database."""
        if self._closed:
            raise LibraryClosed
        self._require_unchanged()
        with self.named_errors():
            return self._readers.connect()

    def close(self) -> None:
        """Finish what is queued and close every connection; the last process also empties the WAL."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._close_idle()
        self._readers.dispose()
        self._writer.close()
        self._writers.dispose()

    def version(self, connection: Connection) -> int:
        """Return a number that changes for this connection whenever something was committed."""
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)  # noqa: S101 (narrows the type)
        return int(driver.execute("PRAGMA data_version").fetchone()[0])

    def now(self, connection: Connection) -> float:
        """Return the time of this machine."""
        return time.time()

    def engine(self) -> None:
        """Return nothing: there is no server."""

    def insert_missing(self, table: Table) -> Insert:
        """Return an INSERT that leaves out rows whose primary key is there already."""
        return insert(table).on_conflict_do_nothing()

    def missing(self) -> LibraryError:
        """Return the error for an empty file."""
        return CatalogCorrupted(self.path, "it is empty")

    def as_label(self, value: str) -> str:
        """Return a text as labels have it: as it is."""
        return value

    def damage(self, connection: Connection, *, thorough: bool) -> list[str]:
        """Return what SQLite finds wrong with the structure of the file."""
        if not thorough and self.path.stat().st_size > _CHECKED_QUICKLY:
            return []
        check = "integrity_check" if thorough else "quick_check"
        lines = connection.exec_driver_sql(f"PRAGMA {check}").scalars().all()
        return [] if lines == ["ok"] else [str(line) for line in lines]

    def size(self) -> int:
        """Return how many bytes the file and its write-ahead log take up."""
        files = (self.path, self._log)
        return sum(file.stat().st_size for file in files if file.exists())

    def prepare(self, query: Select[Any]) -> PreparedQuery:
        """Return a function that runs `query`; the driver keeps it compiled."""

        @cache  # when it first runs: most that open a library ask for little
        def compiled() -> tuple[str, dict[str, Any]]:
            made = query.compile(dialect=dialect(paramstyle="named"), compile_kwargs={"render_postcompile": True})
            return str(made), {name: value for name, value in made.params.items() if value is not None}

        def run(**values: Any) -> list[Any]:
            sql, fixed = compiled()
            with self.named_errors(), self._reader() as connection:
                return connection.execute(sql, {**fixed, **values}).fetchall()

        return run

    def gather(self, query: Select[Any]) -> PreparedQuery:
        """Return a function that runs `query` and gives its rows, which are read as one value.

        The driver lets other threads run at every row that it steps to: for hundreds of small rows, in many threads at
        a time, waiting to go on would take far longer than the reading.
        """
        found = self.prepare(select(func.json_group_array(func.json_array(*query.subquery().c))))
        return lambda **values: json.loads(found(**values)[0][0])

    def joined(self, query: Select[Any], blobs: str, *scalars: ScalarSelect[Any]) -> Select[Any]:
        """Return a query for the first column of `query` and for its `blobs`, as one value each."""
        rows = query.subquery()
        key, *_ = rows.c
        joined = func.group_concat(rows.c[blobs], "").cast(LargeBinary)
        return select(func.group_concat(key), joined, *scalars)

    def among(self, column: Column[Any], name: str) -> ColumnElement[bool]:
        """Return the condition that `column` has one of the values bound to `name`."""
        values = func.json_each(bindparam(name, type_=Text)).table_valued("value")
        return column.in_(select(values.c.value))

    def many(self, values: Sequence[int] | Sequence[str]) -> str:
        """Return any number of values as one: JSON."""
        return json.dumps(values)

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of the driver itself, for prepared queries."""
        self._require_unchanged()
        try:
            connection = self._idle.pop()
        except IndexError:
            if self._closed:
                raise LibraryClosed from None
            connection = self._connect()
            for pragma in _READING:
                connection.execute(pragma)
        try:
            yield connection
        finally:
            self._idle.append(connection)
            if self._closed:
                self._close_idle()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Raise what the driver raises as LibraryBusy, CatalogCorrupted or StorageFailed, where it is one."""
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            code = _primary_code(error)
            reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise LibraryBusy from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise CatalogCorrupted(self.path, reason) from error
            if code in _STORAGE_CODES:
                raise StorageFailed(self.path, reason) from _cause(code, error)
            raise

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            function, future = item
            try:
                with self._writer.begin():
                    self._check(self._writer)
                    result = function(self._writer)
            except BaseException as error:  # whatever it is, it belongs to the caller who waits
                future.set_exception(error)
            else:
                future.set_result(result)
            del item, function, future  # a waiting thread keeps nobody's content alive

    def _open_writer(self) -> Connection:
        """Connect and switch to WAL. The switch needs the file alone and does not wait for it by itself."""
        deadline = time.monotonic() + self._busy_timeout
        while True:
            connection = self._writers.connect()
            try:
                driver = connection.connection.driver_connection
                assert isinstance(driver, sqlite3.Connection)  # noqa: S101 (narrows the type)
                if not self._read_only:
                    driver.execute(f"PRAGMA page_size = {_PAGE}")  # of a new file; others keep theirs
                    driver.execute("PRAGMA journal_mode = WAL")  # outside any transaction
            except BaseException as error:
                connection.close()
                if not (_primary_code(error) == sqlite3.SQLITE_BUSY and time.monotonic() < deadline):
                    raise
                time.sleep(0.05)
            else:
                return connection

    def _require_unchanged(self) -> None:
        """Refuse to go on with a file that was taken for immutable once somebody with more rights writes it."""
        if self._immutable is not None and (self._log.exists() or _signature(self.path) != self._immutable):
            raise StorageFailed(self.path, "another process writes it, so it has to be opened again")

    def _connect(self) -> sqlite3.Connection:
        """Connect by the driver itself, which begins nothing by itself."""
        database, uri = str(self.path), False
        if self._read_only:
            options = "mode=ro" if self._immutable is None else "mode=ro&immutable=1"
            database, uri = f"{self.path.absolute().as_uri()}?{options}", True
        return sqlite3.connect(
            database, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False, uri=uri
        )

    def _engine(self, pool: type[Pool], begin: str, pragmas: tuple[str, ...], **options: Any) -> Engine:
        url = URL.create(SQLITE, database=str(self.path))
        kept = {"compiled_cache": COMPILED}
        engine = create_engine(url, poolclass=pool, creator=self._connect, execution_options=kept, **options)

        @event.listens_for(engine, "connect")
        def configure(connection: sqlite3.Connection, _record: object) -> None:
            for pragma in pragmas:
                connection.execute(pragma)

        @event.listens_for(engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine


def _is_read_only(path: Path) -> bool:
    """Tell whether a file that is there, or its folder, where SQLite writes its log, cannot be written."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _signature(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:  # gone
        return 0, 0, 0
    return status.st_ino, status.st_mtime_ns, status.st_size


def _set_options() -> None:
    """Turn what the schema says of its tables into options of SQLite."""
    for table in schema.tables.sorted_tables:
        options = table.dialect_options["sqlite"]
        if table.info.get("ascending"):
            options["autoincrement"] = True
        if table.info.get("clustered"):
            options["with_rowid"] = False
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_options["sqlite"]["where"] = index.info["where"]


_set_options()

_STORAGE_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOLFS,
    }
)


def _cause(code: int, error: Exception) -> Exception:
    """Return what a failure came from. SQLite only says that it cannot open a file: the system may say why."""
    if code == sqlite3.SQLITE_CANTOPEN:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as none_left:
            return none_left
    return error


def _primary_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code, without the details in the upper bytes."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
