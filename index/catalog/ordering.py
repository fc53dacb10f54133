"""The orders of a list as queries that go on behind a record, each by an index."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, literal, tuple_

from index.catalog import schema
from index.interfaces import Spot
from index.types import Order


def stretch_by_key(query: Select[Any], key: ColumnElement[int], after: Spot | None, order: Order) -> Select[Any]:
    """Return the records behind `after` in the order of adding."""
    if after is not None:
        query = query.where(_behind(key, after.key, order))
    return query.order_by(_ordered(key, order))


def stretches_by_time(
    query: Select[Any], key: ColumnElement[int], after: Spot | None, order: Order
) -> list[Select[Any]]:
    """Return the images behind `after` in the order of taking: first those that have a time, then the others."""
    taken = schema.images.c.taken
    dated = query.where(taken.is_not(None)).order_by(_ordered(taken, order), _ordered(key, order))
    undated = query.where(taken.is_(None))
    if after is None:
        return [dated, stretch_by_key(undated, key, None, order)]
    if after.taken is None:
        return [stretch_by_key(undated, key, after, order)]
    here, there = tuple_(taken, key), tuple_(literal(after.taken, BigInteger), literal(after.key, BigInteger))
    dated = dated.where(here > there if order.ascending else here < there)  # as one range of the index
    return [dated, stretch_by_key(undated, key, None, order)]


def _behind(column: ColumnElement[Any], value: int, order: Order) -> ColumnElement[bool]:
    return column > value if order.ascending else column < value


def _ordered(column: ColumnElement[Any], order: Order) -> ColumnElement[Any]:
    return column.asc() if order.ascending else column.desc()
