"""A reindex that is under way: whose vectors are staged, and the swap that makes them the real ones."""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete, exists, func, select, update

from index.catalog import schema
from index.catalog.concepts import clear_concepts
from index.catalog.rows import forget_attempts
from index.errors import ReindexConflict
from index.types import Space


def begin(connection: Connection, space: Space) -> int:
    """Stage vectors of `space` from now on, dropping those of any other; return how many there are."""
    if schema.read_meta(connection)["staging_space"] != _as_text(space):
        _clear(connection)
        schema.write_meta(connection, {"staging_space": _as_text(space)})
    done = 0
    for target, staged in schema.staged.items():
        alive = exists().where(schema.records[target].c.key == staged.c.key)
        done += connection.execute(select(func.count()).select_from(staged).where(alive)).scalar_one()
    return done


def require_staging(connection: Connection, space: Space) -> None:
    """Raise ReindexConflict unless vectors of `space` are being staged."""
    if schema.read_meta(connection)["staging_space"] != _as_text(space):
        raise ReindexConflict(
            "Another process finished this reindex, or began one with another bundle. "
            "Look at `visem info` and repeat `visem reindex` if the bundle is not the one you want."
        )


def swap(connection: Connection, space: Space) -> bool:
    """Put the staged vectors in place of the old ones; if some record has none, change nothing and return False."""
    require_staging(connection, space)
    for target, records in schema.records.items():
        staged = schema.staged[target]
        lacking = select(records.c.key).where(~exists().where(staged.c.key == records.c.key)).limit(1)
        if connection.execute(lacking).first() is not None:
            return False
    clear_concepts(connection)  # they were words of the old space
    forget_attempts(connection)  # and it was the old captioner that failed
    for target, records in schema.records.items():
        staged = schema.staged[target]
        vector = select(staged.c.vector).where(staged.c.key == records.c.key).scalar_subquery()
        connection.execute(update(records).values(vector=vector))
    # A new generation makes every process and every snapshot start anew, so the log of deletions can be
    # emptied.
    generation = schema.read_state(connection).generation + 1
    schema.write_meta(connection, {"generation": str(generation), "staging_space": ""})
    schema.write_meta(connection, schema.space_values(space))
    connection.execute(delete(schema.deletions))
    _clear(connection)
    return True


def _clear(connection: Connection) -> None:
    for staged in schema.staged.values():
        connection.execute(delete(staged))


def _as_text(space: Space) -> str:
    return json.dumps([space.id, space.name, space.dimension])
