"""Times as the catalog keeps them: whole microseconds since the epoch."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000


def microseconds(moment: datetime) -> int:
    """Return a moment, with its offset, in microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """Return the moment (UTC) that the catalog keeps as so many microseconds."""
    return _EPOCH + microseconds * _MICROSECOND


def moment_if(microseconds: int | None) -> datetime | None:
    """Return that moment; None for none."""
    return None if microseconds is None else moment(microseconds)
