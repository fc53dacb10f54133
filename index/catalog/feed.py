"""Following one collection of a catalog, whichever process writes to it."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from sqlalchemy import Table, bindparam, func, select

from index.catalog import schema
from index.catalog.database import Database
from index.errors import CatalogCorrupted, InvalidVector
from index.interfaces import ChangeBatch, Position
from index.types import Keys, Target
from index.vector_encoding import stored_rows

_BATCH = 4096  # vectors held in memory at once while an index is rebuilt


class SqlChangeFeed:
    """Keeps a connection of its own, which tells whether anyone has committed; see `ChangeFeed`."""

    def __init__(self, database: Database, target: Target) -> None:
        self._database = database
        self._target = target
        table: Table = schema.records[target]
        following = select(table.c.key, table.c.vector).where(table.c.key > bindparam("after")).order_by(table.c.key)
        self._following = database.joined(following.limit(_BATCH), "vector")
        self._connection = database.connect()
        self._seen: int | None = None

    @property
    def version(self) -> int | None:
        """What changes with every commit; see `ChangeFeed.version`."""
        return self._seen

    def poll(self, since: Position | None) -> Generator[ChangeBatch, None, None]:
        """Yield what happened after `since`; see `ChangeFeed.poll`."""
        with self._database.named_errors():
            if since is not None and self._database.version(self._connection) == self._seen:
                return
        # One read transaction: the version and the changes are of one moment.
        with self._database.named_errors(), self._connection.begin():
            schema.read_state(self._connection)  # it begins with the first read
            version = self._database.version(self._connection)
            self._seen = None
            yield from self._changes(since)
            self._seen = version

    def removed_since(self, deletion: int) -> Keys:
        """Return the keys deleted after an entry of the deletion log; see `ChangeFeed.removed_since`."""
        with self._database.named_errors(), self._connection.begin():
            return self._deletions(deletion)[1]

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _changes(self, since: Position | None) -> Iterator[ChangeBatch]:
        import numpy as np

        state = schema.read_state(self._connection)
        reset = since is None or since.generation != state.generation
        last = Position(state.generation, 0, 0) if since is None or reset else since
        deletion, removed = self._deletions(last.deletion)
        if reset:
            removed = _no_keys()
        dimension = state.space.dimension
        while True:
            names, packed = self._connection.execute(self._following, {"after": last.key}).one()
            added = np.array(names.split(",") if names else (), dtype=np.int64)
            if not len(added) and not reset and not len(removed) and deletion == last.deletion:
                return
            try:
                halves = stored_rows(packed or b"", len(added), dimension)
            except InvalidVector as error:
                reason = f"{self._target} with keys from {last.key + 1} on have invalid vectors ({error})"
                raise CatalogCorrupted(self._database.location, reason) from error
            last = Position(state.generation, int(added[-1]) if len(added) else last.key, deletion)
            yield ChangeBatch(reset, dimension, removed, added, halves, last)
            if len(added) < _BATCH:
                return
            reset, removed = False, _no_keys()

    def _deletions(self, after: int) -> tuple[int, Keys]:
        """Return the last entry of the deletion log and the keys of this collection deleted after `after`."""
        import numpy as np

        log = schema.deletions
        last = self._connection.execute(select(func.max(log.c.seq))).scalar_one() or 0
        if last <= after:
            return after, _no_keys()
        keys = self._connection.execute(
            select(log.c.key).where(log.c.seq > after, log.c.target == self._target)
        ).scalars()
        return last, np.fromiter(keys, dtype=np.int64)


def _no_keys() -> Keys:
    import numpy as np

    return np.empty(0, dtype=np.int64)
